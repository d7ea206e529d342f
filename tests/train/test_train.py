"""Training: the same weights however it is run, interrupted or spread, and nothing lost by an error."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import make_exam, quick
from hypothesis import given
from hypothesis import strategies as st
from monai.networks import nets
from rated import write_rated_exams
from safetensors import safe_open
from torch import nn

import dqe_loss
from dqe_loss import DQELoss, Surrogate, SurrogateConfig, load_surrogate, save_surrogate
from dqe_loss.processes import Processes, StopRequest
from dqe_loss.surrogate.checkpoint import assemble
from dqe_loss.surrogate.describe import describe_ratings
from dqe_loss.surrogate.refiner import SMALLEST_PLANE, Refiner, RefinerConfig
from dqe_loss.train import command
from dqe_loss.train.batch_statistics import averaged_batch_statistics
from dqe_loss.train.config import PRESETS, TrainConfig, from_yaml, to_yaml
from dqe_loss.train.dataset import MicroBatches
from dqe_loss.train.held_out_agreement import measure, rate_rated
from dqe_loss.train.network_and_planes import prepare_training
from dqe_loss.train.run_folder import RunFolder
from dqe_loss.train.summed_gradients import summed_gradients
from dqe_loss.train.train_surrogate import train_surrogate

KINDS = ("hybrid stars", "the network alone")
ROOT = Path(dqe_loss.__file__).parents[1]


class TinyNet(nn.Module):
    """A classifier of a few hundred weights, as MONAI's are built: saving eleven million took most of the time."""

    def __init__(self, spatial_dims, in_channels, out_channels):
        assert spatial_dims == 2
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 8, 5, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 5, 2), nn.BatchNorm2d(16)
        )
        self.fc = nn.Linear(16, out_channels)

    def forward(self, planes):
        return self.fc(self.features(planes).relu().mean((2, 3)))


@pytest.fixture(scope="module", autouse=True)
def tiny_architecture():
    """In this process only: what starts another names an architecture of MONAI."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nets, "TinyNet", TinyNet, raising=False)
        yield


@pytest.fixture(scope="module")
def ratings(tmp_path_factory):
    return write_rated_exams(tmp_path_factory.mktemp("rated"))


@pytest.fixture
def options(ratings, tmp_path):
    """Options of a tiny run: 4 exams, 24 planes to train on, 3 steps an epoch."""
    return TrainConfig(
        ratings=(ratings,),
        out=tmp_path / "run",
        cache=ratings.parent / "planes",
        architecture="TinyNet",
        field_of_view=(32, 32),
        epochs=2,
        batch=8,
        micro_batch=4,
        workers=0,
        save_every=1,
        device="cpu",
    )


def arguments_of(config):
    return [
        *("paper", "--ratings", *map(str, config.ratings), "--out", str(config.out), "--cache", str(config.cache)),
        *("--architecture", config.architecture, "--field-of-view", *map(str, config.field_of_view)),
        *("--epochs", str(config.epochs), "--learning-rate", str(config.learning_rate)),
        *("--batch", str(config.batch), "--micro-batch", str(config.micro_batch), "--workers", str(config.workers)),
        *("--save-every", "1", "--device", "cpu"),
    ]


def weights_of(config, name="surrogate"):
    with safe_open(config.out / f"{name}.safetensors", framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def assert_same_run(first, second):
    one, other = weights_of(first), weights_of(second)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert (first.out / "log.csv").read_text() == (second.out / "log.csv").read_text()


@pytest.fixture
def fails(capsys):
    """Run the command in this process; returns its one line of error."""

    def fails(*arguments):
        assert command.main([str(argument) for argument in arguments]) == 2
        lines = capsys.readouterr().err.splitlines()
        errors = [line for line in lines if line.startswith("dqe train: error: ")]
        assert len(errors) == 1, lines
        return errors[0].removeprefix("dqe train: error: ")

    return fails


def test_a_run_leaves_a_surrogate_that_is_a_loss(options, capsys):
    assert command.main(arguments_of(options)) == 0
    assert "test: MAE" in capsys.readouterr().out
    surrogate = load_surrogate(options.out / "surrogate.safetensors")
    assert surrogate.config.kind_of_ratings == "simulated"
    assert "16 simulated judgments by 2 raters of 8 segmentations of 4 exams" in surrogate.config.data
    assert surrogate.config.versions["dqe_loss"] == dqe_loss.__version__
    log = pd.read_csv(options.out / "log.csv")
    assert log["epoch"].tolist() == [1, 2]
    assert log[["loss", "validation_mae"]].notna().all(axis=None)
    assert list((options.out / "tensorboard").iterdir())
    for name in ("surrogate", "best"):
        with safe_open(options.out / f"{name}.safetensors", framework="pt") as file:
            card = file.metadata()["model_card"]
        assert card == (options.out / f"{name}.md").read_text()
        assert "Kind of ratings: simulated" in card
        assert "| test | 2 |" in card
    again = from_yaml(options.out / "config.yaml")
    assert again == options

    image, labels = make_exam()
    logits = torch.zeros(1, 3, *labels.shape[2:], requires_grad=True)
    loss = DQELoss(options.out / "best.safetensors", on_small="pad")(logits, labels, image=image)
    loss.backward()
    assert loss.isfinite()


@pytest.mark.slow
def test_learns_to_tell_good_from_bad(options):
    config = replace(options, architecture="resnet18", epochs=8, learning_rate=3e-3, optimizer="adamw")
    config = replace(config, validation=0, split=None, save_every=9)
    assert train_surrogate(config) == 0
    log = pd.read_csv(config.out / "log.csv")
    assert log["loss"].iloc[-1] < 0.5 * log["loss"].iloc[0]
    assert not (config.out / "best.safetensors").exists()  # nothing to choose it by


@pytest.mark.parametrize(
    "optimizer", [*(pytest.param(o, marks=pytest.mark.slow) for o in ("sgd", "adamw")), "ranger21"]
)
def test_resumed_run_is_bit_equal_from_any_step(options, monkeypatch, optimizer):
    whole = replace(options, optimizer=optimizer)
    assert train_surrogate(whole) == 0
    broken = replace(whole, out=options.out.with_name("broken"))
    asked = iter([False, True])  # in the middle of the first epoch
    with monkeypatch.context() as patch:
        patch.setattr(StopRequest, "__bool__", lambda _: next(asked))
        assert train_surrogate(broken) == 128  # and no signal to add
    assert not (broken.out / "log.csv").exists()
    assert train_surrogate(replace(broken, resume=True)) == 0
    assert_same_run(whole, broken)


@pytest.mark.slow
def test_any_number_of_workers_gives_the_same_weights(options):
    other = replace(options, out=options.out.with_name("workers"), workers=2)
    assert train_surrogate(options) == train_surrogate(other) == 0
    assert_same_run(options, other)


def start(arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "dqe_loss.train", *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path, process, seconds=120):
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_killed_and_terminated_runs_go_on(options):
    config = replace(options, epochs=6, architecture="resnet18")
    process = start(arguments_of(config))
    wait_for(config.out / "state.pt", process)
    process.kill()
    process.communicate()
    assert not (config.out / "surrogate.safetensors").exists()

    process = start([*arguments_of(config), "--resume"])
    wait_for(config.out / "log.csv", process)
    state = (config.out / "state.pt").stat().st_mtime_ns
    while (config.out / "state.pt").stat().st_mtime_ns == state:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.terminate()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert "stopped by signal 15; the state is saved, --resume continues from it" in errors

    assert command.main([*arguments_of(config), "--resume"]) == 0
    whole = replace(config, out=config.out.with_name("whole"))
    assert command.main(arguments_of(whole)) == 0
    assert_same_run(whole, config)


@pytest.mark.slow
@pytest.mark.parametrize("micro_batch", [4, 2])  # one pass a process and step, and two
def test_two_processes_equal_one(options, micro_batch):
    alone = replace(options, epochs=1, architecture="DenseNet121", micro_batch=micro_batch)
    pair = replace(alone, out=options.out.with_name("pair"))
    assert command.main(arguments_of(alone)) == 0
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launcher, "-m", "dqe_loss.train", *arguments_of(pair)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "dqe train: warning" not in done.stderr
    one, two = weights_of(alone), weights_of(pair)
    for name, values in one.items():
        torch.testing.assert_close(two[name], values, rtol=0, atol=1e-6, msg=lambda text, n=name: f"{n}: {text}")
    np.testing.assert_allclose(
        pd.read_csv(pair.out / "log.csv"), pd.read_csv(alone.out / "log.csv"), rtol=1e-5, atol=1e-5
    )


@pytest.mark.slow
def test_full_disk_is_told_and_loses_nothing(options, monkeypatch, capsys):
    config = replace(options, epochs=3)
    from dqe_loss.train import saved_state

    write, count = saved_state.write_together, iter(range(100))

    def fill_up(contents):
        if next(count) == 1:
            raise OSError(28, "No space left on device", "state.pt")
        write(contents)

    with monkeypatch.context() as patch:
        patch.setattr(saved_state, "write_together", fill_up)
        assert command.main([*arguments_of(config)]) == 2
    assert "No space left on device: 'state.pt'" in capsys.readouterr().err.splitlines()[-1]
    assert command.main([*arguments_of(config), "--resume"]) == 0
    whole = replace(config, out=config.out.with_name("whole"))
    assert command.main(arguments_of(whole)) == 0
    assert_same_run(whole, config)


def test_errors_of_the_command_line(fails, options, tmp_path):
    run = arguments_of(options)
    assert "expected a preset (paper, sgd, " in fails("papre", *run[1:])
    assert "expected at least one table of ratings" in fails("paper", "--out", tmp_path / "x")
    assert "there are 24 planes to train on, fewer than a batch of 40" in fails(*run, "--batch", 40)
    assert "monai.networks.nets has no 'ResNet19'" in fails(*run, "--architecture", "ResNet19")
    assert "HighResNet gives no number for a plane" in fails(*run, "--architecture", "HighResNet")
    assert "no checkpoint at nowhere.pth" in fails(*run, "--pretrained", "nowhere.pth")
    assert "--device cuda:9 cannot be used here" in fails(*run, "--device", "cuda:9")
    assert not list(options.out.glob("*"))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--micro-batch", "3"), "batch must be a multiple of micro_batch, got 8 and 3"),
        (("--learning-rate", "-1"), "expected learning_rate > 0 and weight_decay >= 0, got -1"),
        (("--epochs", "0"), "epochs must be at least 1, got 0"),
        (("--optimizer", "adam"), "invalid choice"),
    ],
)
def test_values_that_do_not_fit(options, capsys, option, message):
    with pytest.raises(SystemExit) as ended:
        command.main([*arguments_of(options), *option])
    assert ended.value.code == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_errors_of_the_data_come_before_training(fails, capsys, options, ratings, tmp_path):
    split = tmp_path / "split.csv"
    split.write_text("exam,split\nexam-0,train\nexam-0,test\n")
    run = arguments_of(options)
    assert "exam exam-0 lies in train and test" in fails(*run, "--split", split)
    table = pd.read_csv(ratings)
    for name, change in (("stars", 7.0), ("t1", "nowhere.nii.gz")):
        broken = table.copy()
        broken.loc[1, name] = change
        path = ratings.parent / f"broken-{name}.csv"
        broken.to_csv(path, index=False)
        assert command.main(["paper", "--ratings", str(path), "--out", str(options.out)]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert lines
        assert all(line.startswith(f"dqe train: error: {path}, row 3: {name} ") for line in lines[:1])
    assert not (options.out / "state.pt").exists()


def test_the_label_scheme_of_the_ratings_is_that_of_the_training(fails, options, ratings, tmp_path):
    told = ratings.parent / "told.csv"
    pd.read_csv(ratings).assign(label_scheme="brats23").to_csv(told, index=False)
    config = replace(options, ratings=(told,))
    prepared = prepare_training(config, Processes(0, 1, torch.device("cpu")))
    assert prepared.fingerprint["label_scheme"] == "brats23"
    message = fails(*arguments_of(config), "--label-scheme", "nnunet")
    assert "column label_scheme and --label-scheme say brats23 and nnunet" in message


def test_runs_are_not_mixed_up(fails, options, tmp_path):
    run = arguments_of(options)
    assert "nothing to resume; leave --resume out to start" in fails(*run, "--resume")
    assert command.main(run) == 0
    assert "holds a run already; go on with --resume" in fails(*run)
    message = fails(*run, "--resume", "--learning-rate", "0.5")
    assert "learning_rate was '0.001', is '0.5'); give the same options, or another --out" in message
    (options.out / "state.pt").write_bytes(b"no state")
    assert "a damaged state" in fails(*run, "--resume")


@pytest.mark.slow
def test_pretrained_network_goes_on_with_its_notice(options):
    config = replace(
        options, pretrained="brainlesion", optimizer="sgd", learning_rate=1e-9, epochs=1, head="ordinal", batch=24
    )
    assert train_surrogate(config) == 0
    surrogate = load_surrogate(config.out / "surrogate.safetensors")
    assert surrogate.config.architecture == "DenseNet121"
    assert surrogate.config.kind_of_ratings == "simulated"
    assert "Apache License 2.0" in surrogate.config.notice
    assert "had learned from stars of individual neuroradiologists" in surrogate.config.data
    published = load_surrogate("brainlesion").network.state_dict()["features.conv0.weight"]
    trained = surrogate.network.state_dict()["backbone.features.conv0.weight"]
    torch.testing.assert_close(trained, published, rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def hardened(tmp_path_factory):
    """A small surrogate with a refiner that agrees with no mask."""
    config = SurrogateConfig(
        architecture="TinyNet",
        field_of_view=(SMALLEST_PLANE, SMALLEST_PLANE),
        kind_of_ratings="hybrid",
        refiner=RefinerConfig(features=(4, 4, 4, 4, 4, 4), exponent=1),
        center_gradient=False,
        data="human ratings: of experts; a refiner, taught on nothing",
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        surrogate = Surrogate(config, Refiner(config.refiner))
    with torch.no_grad():
        surrogate.network.fc.bias += 4
        surrogate.refiner.trust.zero_()
    path = tmp_path_factory.mktemp("hardened") / "hardened.safetensors"
    save_surrogate(surrogate, path)
    return path


def tuned(options, hardened):
    side = SMALLEST_PLANE
    return replace(
        options, pretrained=str(hardened), field_of_view=(side, side), optimizer="adamw", learning_rate=1e-5, test=0.34
    )


def rows_of_card(path):
    """Part to the figures that a card shows."""
    rows = [line.strip("| ").split(" | ") for line in path.read_text().splitlines() if line.startswith("| ")]
    return {part: values for part, *values in rows[1:]}


def test_a_pretrained_refiner_is_carried_over_and_measured_with_the_network(options, hardened):
    config = tuned(options, hardened)
    assert train_surrogate(config) == 0
    start = load_surrogate(hardened)
    prepared = prepare_training(config, Processes(0, 1, torch.device("cpu")), RunFolder(config.out).split)
    for name in ("surrogate", "best"):
        path = config.out / f"{name}.safetensors"
        saved = load_surrogate(path)
        for key, weight in start.refiner.state_dict().items():
            assert torch.equal(saved.refiner.state_dict()[key], weight), key
        assert not torch.equal(saved.network.fc.weight, start.network.fc.weight)
        assert (saved.config.kind_of_ratings, saved.config.refiner) == ("hybrid", start.config.refiner)
        assert saved.config.data.startswith("simulated ratings: ")
        assert "simulated raters, not from human ratings, and lowered where" in describe_ratings(saved.config, "a")
        card = path.with_suffix(".md").read_text()
        assert "taught on references elsewhere and is carried over unchanged" in card
        rows = rows_of_card(path.with_suffix(".md"))
        assert list(rows) == [f"{p}, {kind}" for p in ("validation", "test") for kind in KINDS]
        # The file as it lies there gives what its card says, of each kind of stars.
        again = measure(saved, {part: prepared.planes[part] for part in ("validation", "test")})
        hybrid, alone = (again[f"test, {kind}"]["mae"] for kind in KINDS)
        assert abs(hybrid - alone) > 0.1
        for part, values in again.items():
            shown = [f"{values['segmentations']:.0f}", *(f"{values[key]:.2f}" for key in ("mae", "rmse", "pearson"))]
            assert rows[part] == shown
    log = pd.read_csv(config.out / "log.csv")
    best = load_surrogate(config.out / "best.safetensors")
    stars = rate_rated(best, prepared.planes["validation"])["hybrid stars"]
    rated = np.array([plane.stars for plane in prepared.planes["validation"]])
    assert np.abs(stars - rated).mean() == log["validation_mae"].min()  # exactly: what was chosen is what was saved


def test_a_resumed_run_needs_the_refiner_that_it_began_with(fails, options, hardened, monkeypatch, tmp_path):
    start = tmp_path / "start.safetensors"
    shutil.copy(hardened, start)
    config = tuned(options, start)
    asked = iter([False, True])
    with monkeypatch.context() as patch:
        patch.setattr(StopRequest, "__bool__", lambda _: next(asked))
        assert train_surrogate(config) == 128
    other = load_surrogate(start)
    with torch.no_grad():
        other.refiner.trust += 1
    save_surrogate(other, start)
    with pytest.raises(ValueError, match=r"refiner was .*, is .*; give the same options, or another --out"):
        train_surrogate(replace(config, resume=True))
    shutil.copy(hardened, start)
    assert train_surrogate(replace(config, resume=True)) == 0
    whole = replace(config, out=config.out.with_name("whole"))
    assert train_surrogate(whole) == 0
    assert_same_run(whole, config)


def test_a_checkpoint_of_a_run_that_was_cut_off_says_what_was_measured(options, monkeypatch):
    asked = iter([False, False, False, True])  # after the first epoch
    monkeypatch.setattr(StopRequest, "__bool__", lambda _: next(asked))
    assert train_surrogate(options) == 128
    card = options.out / "best.md"
    assert list(rows_of_card(card)) == ["validation"]
    assert "The training was going on: the exams of the test had not been rated yet" in card.read_text()


def test_no_surrogate_has_a_refiner_of_its_own_making():
    config = SurrogateConfig(field_of_view=(SMALLEST_PLANE, SMALLEST_PLANE), refiner=RefinerConfig())
    with pytest.raises(ValueError, match="has a refiner, and none was given; load_surrogate loads both"):
        Surrogate(config)
    with pytest.raises(ValueError, match="has no refiner, and one was given"):
        Surrogate(replace(config, refiner=None), Refiner(config.refiner))
    weights = Surrogate(replace(config, refiner=None)).network.state_dict()
    with pytest.raises(RuntimeError, match="Missing key"):
        assemble(config, weights)


@pytest.mark.parametrize("preset", PRESETS)
def test_yaml_round_trip(preset, tmp_path):
    config = replace(PRESETS[preset][1], ratings=(Path("a.csv"),), cache=Path("planes"))
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config))
    assert from_yaml(path) == config


def test_presets_are_the_rows_of_table_1():
    configs = [config for _, config in PRESETS.values() if not config.pretrained]
    rows = {(c.architecture, c.optimizer, c.surrogate().normalization, c.encoding) for c in configs}
    assert rows == {
        ("DenseNet121", "sgd", "percentile", "tissue"),
        ("DenseNet121", "adamw", "percentile", "tissue"),
        ("DenseNet121", "ranger21", "percentile", "tissue"),
        ("DenseNet201", "ranger21", "percentile", "tissue"),
        ("DenseNet121", "ranger21", "minmax", "regions"),
        ("DenseNet121", "ranger21", "percentile", "regions"),
    }
    paper = PRESETS["paper"][1]
    assert (paper.batch, paper.learning_rate, paper.epochs, paper.head) == (80, 1e-3, 500, "regression")


def test_a_normalization_beside_a_window_is_refused(tmp_path):
    file = tmp_path / "task.json"
    values = {
        "name": "organ",
        "modalities": ["ct"],
        "labels": {"organ": 1},
        "regions": ["organ"],
        "window": [-160, 240],
    }
    file.write_text(json.dumps(values | {"field_of_view": [64, 64]}))
    assert TrainConfig(task=str(file)).surrogate().normalization == "window"
    assert TrainConfig(task=str(file), normalization="window").surrogate().normalization == "window"
    with pytest.raises(ValueError, match=r"normalization 'minmax' contradicts the window .* of the task 'organ'"):
        TrainConfig(task=str(file), normalization="minmax").surrogate()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 3", "unknown fields epoch; expected ratings, out"),
        ("epochs: many", "epochs: Input should be a valid integer"),
        ("epochs: 0", "epochs must be at least 1, got 0"),
        ("- epochs", "expected fields and their values, found list"),
        ("epochs: [", "cannot be read as YAML"),
        ("augmentation: {noise: 1}", "unknown fields noise; expected enabled, "),
        ("augmentation: {gamma: dark}", "augmentation.gamma: Input should be a valid tuple"),
    ],
)
def test_yaml_errors(fails, tmp_path, text, message):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    assert message in fails(path)


@quick
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(0, 30), st.integers(0, 9))
def test_processes_share_out_each_batch(world, per_step, micro_batch, extra, epoch):
    batch = world * per_step * micro_batch
    planes = 2 * batch + extra % batch
    samplers = [MicroBatches(planes, batch, micro_batch, seed=1, rank=r, world=world) for r in range(world)]
    alone = MicroBatches(planes, batch, micro_batch, seed=1)
    for sampler in (*samplers, alone):
        sampler.epoch = epoch
    merged = [part for parts in zip(*samplers, strict=True) for part in parts]
    assert merged == list(alone)
    indices = [index for part in merged for _, index in part]
    assert len(indices) == 2 * batch == len(set(indices))
    alone.first_step = 1
    assert list(alone) == merged[world * per_step :]


def test_batches_that_cannot_be_shared():
    with pytest.raises(ValueError, match="batch must be a multiple of micro_batch x processes, got 80 and 20 x 3"):
        MicroBatches(100, 80, 20, world=3)


def test_running_statistics_move_once_toward_the_average_of_the_passes():
    norm = nn.BatchNorm1d(1)
    with averaged_batch_statistics(norm):
        norm(torch.tensor([[0.0], [2.0]]))  # mean 1, variance 2
        norm(torch.tensor([[3.0], [9.0]]))  # mean 6, variance 18
    assert norm.running_mean.item() == pytest.approx(0.1 * 3.5)
    assert norm.running_var.item() == pytest.approx(0.9 + 0.1 * 10)
    assert (norm.momentum, norm.num_batches_tracked.item()) == (0.1, 1)


@pytest.mark.gpu
def test_trains_on_a_gpu_in_bfloat16(options):
    config = replace(options, device="cuda", workers=2)
    assert train_surrogate(config) == 0
    assert np.isfinite(pd.read_csv(config.out / "log.csv")).all(axis=None)


def test_mean_gradient_of_the_passes_in_the_layout_of_the_weights():
    layer = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
    planes = torch.randn(4, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    with summed_gradients(layer, 2) as add:
        for part in planes.chunk(2):
            layer(part).square().mean().backward()
            add()
    found = [parameter.grad.clone() for parameter in layer.parameters()]
    assert found[0].stride() == layer.weight.stride()
    layer.zero_grad()
    layer(planes).square().mean().backward()
    torch.testing.assert_close(found, [parameter.grad for parameter in layer.parameters()])
