"""OpenVINO gives the stars that PyTorch gives, for any surrogate, and the command rates by it."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from helpers import SIDE, TinyRater, make_case, shrink, small_surrogate, tiny_surrogate
from test_open_exam import make_folder
from test_refiner import guarded_surrogate
from torch import nn

from dqe_loss import Surrogate, SurrogateConfig, save_surrogate
from dqe_loss.core import pipeline
from dqe_loss.core.mask import LabelMask, center_of_mask
from dqe_loss.core.pipeline import cut_planes, read_inputs
from dqe_loss.data.exam_files import find_exam
from dqe_loss.data.exams import open_exam
from dqe_loss.rate import command as rate
from dqe_loss.rate.rate_exam import prepare_planes, rate_prepared_planes
from dqe_loss.surrogate.network import build_network

pytest.importorskip("openvino")
from dqe_loss.surrogate.openvino import OpenVINORater

TOLERANCE = 1e-5


def planes_of(surrogate):
    image, labels, *_ = make_case()
    mask = LabelMask(labels, "brats23")
    inputs = read_inputs(surrogate.config, image, mask, center_of_mask(mask, hard=True))
    return cut_planes(surrogate.config, inputs).flatten(0, 2)


def ordinal():
    config = SurrogateConfig(architecture="resnet18", head="ordinal", encoding="tissue", field_of_view=(SIDE, SIDE))
    torch.manual_seed(0)
    surrogate = Surrogate(config)
    surrogate.network = build_network(config).eval().requires_grad_(False)
    return surrogate


class WithSecondNetwork(Surrogate):
    """A surrogate with another network beside its classifier, whose refined mask of the mask it takes into account."""

    def __init__(self):
        super().__init__(small_surrogate().config)
        self.network = TinyRater().eval().requires_grad_(False)
        self.second = nn.Conv2d(4, 3, 3, padding=1).eval().requires_grad_(False)

    def forward(self, planes):
        difference = (self.second(planes[:, :4]).sigmoid() - planes[:, 4:]).abs().mean((1, 2, 3))
        return super().forward(planes) - difference


@pytest.mark.parametrize(
    "make", [tiny_surrogate, *(pytest.param(one, marks=pytest.mark.slow) for one in (ordinal, WithSecondNetwork))]
)
def test_stars_are_those_of_torch_for_any_surrogate_and_batch(make):
    surrogate = make()
    rater = OpenVINORater(surrogate, threads=1)
    planes = planes_of(surrogate)
    assert rater.config == surrogate.config
    for batch in (planes[:1], planes, planes.repeat(4, 1, 1, 1)):
        stars, expected = rater(batch), surrogate(batch)
        assert stars.shape == expected.shape
        assert (stars - expected).abs().max() < TOLERANCE
    assert surrogate(planes).std() > 1e-3  # planes that are told apart


@pytest.fixture(scope="module")
def published(surrogate):
    return OpenVINORater(surrogate, threads=1)


@pytest.mark.slow
def test_published_weights_on_a_phantom(surrogate, published, phantom):
    image = torch.from_numpy(phantom.image)[None]
    for labels in phantom.segmentations.values():
        mask = LabelMask(torch.from_numpy(labels)[None, None], "brats")
        inputs = read_inputs(published.config, image, mask, center_of_mask(mask, hard=True))
        planes = cut_planes(published.config, inputs)
        with torch.no_grad():
            assert (
                pipeline.rate_planes(published, planes) - pipeline.rate_planes(surrogate, planes)
            ).abs().max() < TOLERANCE


@pytest.mark.slow
@pytest.mark.exams
@pytest.mark.filterwarnings("ignore:.*its affine differs")
def test_published_weights_on_real_exams(exams, surrogate, published):
    for name in ("BraTS-GLI-00000-000", "BraTS-GLI-00001-000", "TCGA-FG-6692"):
        paths = find_exam(exams / name)
        exam = open_exam(replace(paths, segmentations=paths.segmentations[:1]))
        planes = prepare_planes(exam, published)
        stars, expected = rate_prepared_planes(planes, published), rate_prepared_planes(planes, surrogate)
        for segmentation, views in expected.items():
            assert stars[segmentation] == pytest.approx(views, abs=TOLERANCE)


@pytest.mark.slow
def test_converting_leaves_the_surrogate_as_it_is():
    surrogate = tiny_surrogate()
    planes = planes_of(surrogate).requires_grad_()
    before = surrogate(planes)
    OpenVINORater(surrogate, threads=1)
    after = surrogate(planes)
    assert torch.equal(before, after)
    after.sum().backward()
    assert planes.grad.abs().sum() > 0


def test_only_float32_on_a_cpu():
    with pytest.raises(ValueError, match=r"float32 surrogate on the CPU, got torch.float64 on cpu; leave --engine"):
        OpenVINORater(shrink(small_surrogate()).double())


def test_what_cannot_be_converted_is_told():
    class Odd(nn.Module):
        def forward(self, planes):
            return torch.linalg.eigvals(planes[:, :1, :8, :8]).real.mean((1, 2)).reshape(-1, 1)

    surrogate = shrink(small_surrogate())
    object.__setattr__(surrogate, "_modules", {"network": Odd()})
    surrogate.network.register_parameter("weight", nn.Parameter(torch.zeros(1), requires_grad=False))
    with pytest.raises(ValueError, match=r"OpenVINO cannot convert this DenseNet121 \(.*; rate with --engine torch"):
        OpenVINORater(surrogate)


@pytest.mark.slow
def test_a_wrong_conversion_is_noticed(monkeypatch):
    monkeypatch.setattr(OpenVINORater, "__call__", lambda self, planes: torch.full((len(planes),), 9.0))
    with pytest.raises(ValueError, match=r"OpenVINO's stars differ by .* from PyTorch's; rate with --engine torch"):
        OpenVINORater(tiny_surrogate())


@pytest.fixture
def command(tmp_path, capsys):
    """Run the command on a tiny exam with a tiny checkpoint; returns exit code, stars, errors."""
    folder = make_folder(tmp_path / "exam", ending=".nii")
    config = replace(small_surrogate().config, architecture="resnet18")
    torch.manual_seed(0)
    save_surrogate(Surrogate(config), tmp_path / "small.safetensors")

    def run(*arguments):
        output = tmp_path / "stars.json"
        flags = ["--exam", folder, "--checkpoint", tmp_path / "small.safetensors", "--json", output]
        code = rate.main([*map(str, flags), *arguments])
        stars = json.loads(output.read_text())["ratings"] if code == 0 else None
        return code, stars, capsys.readouterr().err

    return run


@pytest.mark.slow
def test_command_rates_by_either(command):
    code, stars, errors = command("--engine", "openvino")
    assert (code, errors) == (0, "")
    _, expected, _ = command()
    assert list(stars) == list(expected) == ["seg-first", "seg-second"]
    for name, views in expected.items():
        assert stars[name] == pytest.approx(views, abs=TOLERANCE)


def test_command_without_openvino_says_what_to_install(command, monkeypatch):
    monkeypatch.delitem(sys.modules, "dqe_loss.surrogate.openvino")
    monkeypatch.setitem(sys.modules, "openvino", None)
    code, _, errors = command("--engine", "openvino")
    assert code == 2
    assert errors == 'dqe rate: error: this needs openvino, which is missing; run: pip install "dqe_loss[engine]"\n'


@pytest.mark.slow
def test_a_refiner_is_asked_in_the_engine_too():
    surrogate = guarded_surrogate()
    rater = OpenVINORater(surrogate, threads=1)
    planes = torch.rand(3, 7, *surrogate.config.field_of_view, generator=torch.Generator().manual_seed(0))
    planes[:, 4:] = planes[:, 4:].round()
    found, expected = rater.refine(planes), surrogate.refine(planes)
    assert (found.regions != expected.regions).float().mean() < 1e-3
    assert (found.sure != expected.sure).float().mean() < 1e-3
    assert found.sure.dtype == torch.bool
    for ceiling in (None, torch.tensor([0.0, 0.5, 1.0])):
        assert (rater(planes, ceiling=ceiling) - surrogate(planes, ceiling=ceiling)).abs().max() < 1e-3
    assert OpenVINORater(tiny_surrogate()).refine(planes) is None


SIGNALED = """
import gc, os, signal, torch
from dqe_loss import Surrogate, SurrogateConfig
from dqe_loss.surrogate.openvino import OpenVINORater

got = []
signal.signal(signal.SIGUSR1, lambda *_: got.append(True))
config = SurrogateConfig(architecture="resnet18", field_of_view=(64, 64))
raters = [OpenVINORater(Surrogate(config)) for _ in range(2)]
del raters[0]
del raters[0]
gc.collect()
os.kill(os.getpid(), signal.SIGUSR1)
print(got)
"""


@pytest.mark.slow
def test_a_signal_is_handled_when_the_engine_is_gone():
    """OpenVINO moves the stack that signals are handled on; where it was freed, a stop request was a crash."""
    done = subprocess.run([sys.executable, "-c", SIGNALED], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, "[True]\n"), done.stderr
