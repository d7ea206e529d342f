import inspect
import json
import os
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import shrink, small_surrogate
from safetensors.torch import load_file, save_file

from dqe_loss import DQELoss, DQEMetric, Surrogate, SurrogateConfig, load_surrogate, save_surrogate
from dqe_loss.rate.arguments import RateArguments
from dqe_loss.surrogate.checkpoint import DEFAULT_CHECKPOINT


@pytest.fixture(scope="module")
def saved_once(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "model.safetensors"
    save_surrogate(small_surrogate(), path)
    return path


@pytest.fixture
def saved(saved_once, tmp_path) -> Path:
    """A saved checkpoint that the test may spoil, alone in its folder."""
    return Path(shutil.copy(saved_once, tmp_path))


def rewrite(path: Path, config: object | None) -> None:
    """Write a checkpoint's tensors again with another configuration, or with none."""
    metadata = {"format": "pt"} if config is None else {"format": "pt", "dqe_loss": json.dumps(config)}
    save_file(load_file(path), path, metadata=metadata)


@pytest.mark.parametrize("as_text", [False, True])
def test_a_saved_surrogate_comes_back(saved, as_text):
    surrogate, planes = small_surrogate(), torch.rand(2, 7, 32, 32)
    loaded = load_surrogate(str(saved) if as_text else saved)
    assert torch.equal(loaded(planes), surrogate(planes))
    assert loaded.config == surrogate.config
    assert loaded.config.kind_of_ratings == "human"
    assert "Apache" in loaded.config.notice
    assert loaded.config.versions["deep-quality-estimation"] == "0.0.3"
    assert not any(p.requires_grad for p in loaded.parameters())
    assert not loaded.training


def test_every_field_of_the_configuration_comes_back(tmp_path):
    config = SurrogateConfig(
        encoding="tissue", modalities=("flair", "t1", "t1c", "t2"), normalization="minmax", percentiles=(1.0, 98.0),
        field_of_view=(48, 32), stars=(0.0, 1.0), kind_of_ratings="metric", data="phantoms", seed=7,
        versions={"torch": torch.__version__}, notice="none",
    )  # fmt: skip
    surrogate = Surrogate(config)
    save_surrogate(surrogate, tmp_path / "a.safetensors")
    loaded = load_surrogate(tmp_path / "a.safetensors")
    assert loaded.config == config
    planes = torch.rand(1, 5, 48, 32)
    assert torch.equal(loaded(planes), surrogate(planes))


def test_loading_and_saving_leave_the_random_state_alone(tmp_path):
    def states():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()

    before = states()
    save_surrogate(load_surrogate("brainlesion"), tmp_path / "a.safetensors")
    load_surrogate(tmp_path / "a.safetensors")
    assert states() == before


def test_two_loads_are_alike_and_independent():
    first, second = load_surrogate(), load_surrogate()
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    next(iter(second.network.parameters())).zero_()
    assert next(iter(first.network.parameters())).abs().sum() > 0


def test_a_pth_state_dict_is_read_and_claims_nothing(tmp_path):
    """A bare state dict says nothing of the ratings behind it; DataParallel's prefix is taken off."""
    surrogate = load_surrogate("brainlesion")
    weights = {f"module.{name}": value for name, value in surrogate.network.state_dict().items()}
    torch.save(weights, tmp_path / "a.pth")
    loaded = load_surrogate(tmp_path / "a.pth")
    assert loaded.config.kind_of_ratings == "unknown"
    assert all(torch.equal(value, weights[f"module.{name}"]) for name, value in loaded.network.state_dict().items())


class Payload:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pth_file_with_an_object_is_refused_and_not_run(tmp_path):
    trace = tmp_path / "executed"
    for content in (Payload(trace), {"state_dict": Payload(trace)}):
        torch.save(content, tmp_path / "evil.pth")
        with pytest.raises(ValueError, match=r"evil.pth is no readable PyTorch state dict"):
            load_surrogate(tmp_path / "evil.pth")
    assert not trace.exists()


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"state_dict": {"a": torch.zeros(1)}}, torch.zeros(1)])
def test_a_pth_file_of_another_form_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a.pth holds no plain state dict"):
        load_surrogate(tmp_path / "a.pth")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*absent.safetensors; expected 'hardened', 'brain"):
        load_surrogate(tmp_path / "absent.safetensors")
    with pytest.raises(FileNotFoundError, match="no checkpoint at brainlession"):
        load_surrogate("brainlession")
    (tmp_path / "a.onnx").touch()
    with pytest.raises(ValueError, match=r"format of a.onnx; expected .*\.safetensors or \.pth"):
        load_surrogate(tmp_path / "a.onnx")


def test_missing_published_weights_say_what_to_install(monkeypatch):
    monkeypatch.setattr("dqe_loss.surrogate.checkpoint._PACKAGE", "no-such-distribution")
    with pytest.raises(FileNotFoundError, match=r"no-such-distribution, which is not installed.*pip install"):
        load_surrogate("brainlesion")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("keep", [0, 100, 100_000])
def test_a_damaged_file_is_named(tmp_path, saved, suffix, keep):
    whole = saved
    if suffix == ".pth":
        whole = tmp_path / "whole.pth"
        torch.save(small_surrogate().network.state_dict(), whole)
    damaged = tmp_path / f"damaged{suffix}"
    damaged.write_bytes(whole.read_bytes()[:keep])
    with pytest.raises(ValueError, match=rf"damaged\{suffix} is"):
        load_surrogate(damaged)


def test_a_file_without_configuration_is_refused(saved):
    rewrite(saved, None)
    with pytest.raises(ValueError, match=r"model.safetensors has no dqe_loss configuration.*save_surrogate"):
        load_surrogate(saved)


def test_an_unknown_field_is_refused(saved):
    rewrite(saved, {**small_surrogate().config.to_dict(), "temperature": 2})
    with pytest.raises(ValueError, match=r"unknown fields \['temperature'\]"):
        load_surrogate(saved)


@pytest.mark.parametrize("config", [[], None, "DenseNet121", 3])
def test_a_configuration_that_is_no_dictionary_is_refused(saved, config):
    save_file(load_file(saved), saved, metadata={"format": "pt", "dqe_loss": json.dumps(config)})
    with pytest.raises(ValueError, match=r"model.safetensors|configuration"):
        load_surrogate(saved)


def test_a_configuration_without_kind_of_ratings_claims_no_human_ones(saved):
    """Contract C12: what nobody said must not become 'human'."""
    config = small_surrogate().config.to_dict()
    del config["kind_of_ratings"]
    rewrite(saved, config)
    try:
        assert load_surrogate(saved).config.kind_of_ratings != "human"
    except ValueError as error:
        assert "kind_of_ratings" in str(error)  # noqa: PT017 (either is right)


@pytest.mark.parametrize("architecture", ["DenseNet169", "UNet", "Regressor", "densenet"])
def test_another_architecture_is_refused(saved, architecture):
    rewrite(saved, {**small_surrogate().config.to_dict(), "architecture": architecture})
    with pytest.raises(ValueError, match=architecture):
        load_surrogate(saved)


def test_another_encoding_or_a_lost_tensor_is_refused(saved):
    rewrite(saved, {**small_surrogate().config.to_dict(), "encoding": "tissue"})
    with pytest.raises(ValueError, match=r"model.safetensors does not fit DenseNet121.*size mismatch"):
        load_surrogate(saved)
    weights = small_surrogate().network.state_dict()
    torch.save({name: value for name, value in weights.items() if name != "class_layers.out.bias"},
               saved.with_suffix(".pth"))  # fmt: skip
    with pytest.raises(ValueError, match=r"model.pth does not fit DenseNet121.*Missing key.*class_layers.out.bias"):
        load_surrogate(saved.with_suffix(".pth"))


def test_a_half_precision_checkpoint_is_read_as_float32(saved):
    metadata = {"format": "pt", "dqe_loss": json.dumps(small_surrogate().config.to_dict())}
    halves = {k: v.half() if v.is_floating_point() else v for k, v in load_file(saved).items()}
    save_file(halves, saved, metadata=metadata)
    loaded = load_surrogate(saved)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert loaded(torch.rand(1, 7, 32, 32)).isfinite().all()


@pytest.mark.parametrize("existing", [False, True])
def test_a_save_that_fails_leaves_nothing_behind(tmp_path, monkeypatch, existing):
    path = tmp_path / "a.safetensors"
    if existing:
        path.write_bytes(b"the old one")

    def fail(temporary, final):
        assert Path(temporary).stat().st_size > 0
        raise OSError("disk full")

    monkeypatch.setattr("dqe_loss.outputs.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_surrogate(small_surrogate(), path)
    assert [p.name for p in tmp_path.iterdir()] == (["a.safetensors"] if existing else [])
    assert not existing or path.read_bytes() == b"the old one"


def test_a_save_replaces_the_old_file(saved):
    other = shrink(small_surrogate())
    other.config = replace(other.config, seed=9)
    save_surrogate(other, saved)
    assert load_surrogate(saved).config.seed == 9
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_a_saved_file_has_the_permissions_of_any_new_file(saved_once, tmp_path):
    (tmp_path / "ordinary").touch()
    assert saved_once.stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_saving_elsewhere_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"saved as \.safetensors, got a\.pth"):
        save_surrogate(small_surrogate(), tmp_path / "a.pth")
    with pytest.raises(FileNotFoundError, match=r"cannot write a.safetensors: the folder .*absent does not exist"):
        save_surrogate(small_surrogate(), tmp_path / "absent" / "a.safetensors")


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (
            lambda s, p: DQELoss(0.1),
            r"'hardened', 'brainlesion', a path or a Surrogate, got the number 0\.1; .*0\.1 \* DQ",
        ),
        (lambda s, p: DQELoss(None), "a path or a Surrogate, got None"),
        (lambda s, p: DQEMetric(DQELoss(s)), r"got a DQELoss; hand over its \.surrogate"),
        (lambda s, p: load_surrogate(s), "got a Surrogate, which is loaded already"),
        (
            lambda s, p: save_surrogate(p, s),
            r"expected save_surrogate\(surrogate, path\) with a Surrogate, got a \w*Path",
        ),
        (lambda s, p: save_surrogate(DQELoss(s), p), r"got a DQELoss; hand over its \.surrogate"),
    ],
)
def test_what_is_no_surrogate_is_named(tmp_path, act, message):
    with pytest.raises(TypeError, match=message):
        act(small_surrogate(), tmp_path / "a.safetensors")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_it_is_loaded_in_float32_whatever_the_default_is(saved_once, dtype):
    expected = load_surrogate(saved_once).state_dict()
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        loaded = load_surrogate(saved_once).state_dict()
    finally:
        torch.set_default_dtype(usual)
    assert all(loaded[name].dtype == weight.dtype and loaded[name].equal(weight) for name, weight in expected.items())


def test_one_checkpoint_is_the_default_everywhere():
    """Contract C11: what is optimized is what is reported."""
    assert DEFAULT_CHECKPOINT == "hardened"
    for takes in (load_surrogate, DQELoss, DQEMetric):
        assert inspect.signature(takes).parameters["checkpoint"].default == DEFAULT_CHECKPOINT
    assert RateArguments().checkpoint == DEFAULT_CHECKPOINT
    surrogate = load_surrogate()
    assert surrogate.config.kind_of_ratings == "hybrid"
    assert surrogate.refiner is not None
