"""Save and load surrogates: safetensors with the configuration as JSON in the file's metadata (contract C11).

Nothing here unpickles objects: a checkpoint from a stranger can be wrong, but it cannot run code.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, files, version
from numbers import Real
from os import PathLike
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dqe_loss.outputs import write_together
from dqe_loss.surrogate.config import SurrogateConfig
from dqe_loss.surrogate.dice_map import CARD_TITLE, DiceMap
from dqe_loss.surrogate.network import Surrogate
from dqe_loss.surrogate.refiner import Refiner
from dqe_loss.task import GLIOMA
from dqe_loss.tasks.reading import decisive_values

BRAINLESION = SurrogateConfig(
    kind_of_ratings="human",
    data="stars of individual neuroradiologists for BraTS glioma segmentations (deep-quality-estimation 0.0.3; the "
    "successor of the model in Kofler et al. 2022, arXiv 2205.10355)",
    notice="Weights of deep-quality-estimation, https://github.com/BrainLesion/deep_quality_estimation, "
    "copyright its authors, Apache License 2.0.",
)
"""Configuration of the published weights."""

HARDENED = "hardened"
"""Name of the shipped checkpoint: the published weights with a refiner (``weights/hardened.md``)."""

DEFAULT_CHECKPOINT = HARDENED
"""What loss, metrics, functions and commands rate with where nothing else is said (contract C11)."""

_SHIPPED = Path(__file__).parent / "weights" / f"{HARDENED}.safetensors"
_CONFIG_KEY, _CARD_KEY = "dqe_loss", "model_card"
_REFINER = "reader."  # in files since the first checkpoints
# Fields of a configuration that say where weights come from and what their stars mean, and not which stars they give.
_NOT_DECISIVE = ("kind_of_ratings", "dice_map", "data", "seed", "versions", "notice")
_PACKAGE = "deep-quality-estimation"
_WEIGHTS = "dqe_weights.pth"


def load_surrogate(checkpoint: str | Path = DEFAULT_CHECKPOINT) -> Surrogate:
    """Load a surrogate, frozen, on the CPU in float32.

    Args:
        checkpoint: ``"hardened"`` (the default: the published weights with a refiner, made to be optimized
            against; comes with this package), ``"brainlesion"`` (the published human-rating weights alone, from the
            package ``deep-quality-estimation`` that the extra ``published`` installs, and whose code is not
            imported), the path of a
            ``.safetensors`` file written by `save_surrogate`, or the path of a ``.pth`` state dict of the published
            model's architecture and input; what ratings it learned from is then unknown.

    Returns:
        The surrogate with its `SurrogateConfig`.

    Raises:
        TypeError: if it is no name and no path.
        FileNotFoundError: if the file, or the package that carries the published weights, is not there.
        ValueError: if the file is damaged, has no configuration, or does not fit its architecture exactly.
    """
    if not isinstance(checkpoint, str | PathLike):
        raise TypeError(
            f"expected a checkpoint: 'hardened', 'brainlesion', a path or a Surrogate, got {_told(checkpoint)}"
        )
    if checkpoint == "brainlesion":
        path, config = _published_weights(), replace(BRAINLESION, versions={_PACKAGE: version(_PACKAGE)})
        return _build(config, _read_pth(path), path)
    path = _SHIPPED if checkpoint == HARDENED else Path(checkpoint)
    if not path.is_file():
        raise FileNotFoundError(
            f"no checkpoint at {path}; expected 'hardened', 'brainlesion' or the path of a .safetensors or .pth file"
        )
    if path.suffix == ".safetensors":
        metadata, weights = _read_safetensors(path)
        return _build(_read_config(metadata, path), weights, path)
    if path.suffix == ".pth":
        # A bare state dict says nothing of where it came from, so neither do we (contract C12).
        return _build(SurrogateConfig(kind_of_ratings="unknown"), _read_pth(path), path)
    raise ValueError(f"cannot tell the format of {path.name}; expected a file ending in .safetensors or .pth")


def assemble(config: SurrogateConfig, weights: Mapping[str, Tensor]) -> Surrogate:
    """Build a surrogate from its configuration and all of its weights, on the CPU in float32.

    Args:
        config: how it is built.
        weights: as `weights_of` names them, and no others; they are copied.

    Raises:
        RuntimeError: a weight is missing, is of another shape, or is one too many.
    """
    with torch.random.fork_rng(devices=[]):  # building initializes weights; this must not move the global seed
        refiner = None if config.refiner is None else Refiner(config.refiner, config.task)
        surrogate = Surrogate(config, refiner).float()  # whatever torch's default is
    parts: tuple[dict[str, Tensor], dict[str, Tensor]] = ({}, {})
    for name, tensor in weights.items():
        of_refiner = refiner is not None and name.startswith(_REFINER)
        parts[of_refiner][name.removeprefix(_REFINER) if of_refiner else name] = tensor
    surrogate.network.load_state_dict(parts[0], strict=True)
    if refiner is not None:
        refiner.load_state_dict(parts[1], strict=True)
    return surrogate


def weights_of(surrogate: Surrogate) -> dict[str, Tensor]:
    """All weights of a surrogate by name: the network's, and the refiner's behind ``reader.``."""
    return surrogate.network.state_dict() | refiner_weights(surrogate)


def refiner_weights(surrogate: Surrogate) -> dict[str, Tensor]:
    """Those of `weights_of` that are the refiner's; none without one."""
    refiner = {} if surrogate.refiner is None else surrogate.refiner.state_dict()
    return {_REFINER + name: tensor for name, tensor in refiner.items()}


def save_surrogate(surrogate: Surrogate, path: str | Path, *, card: str = "", half: bool = False) -> None:
    """Write a surrogate's weights and configuration as one safetensors file, atomically.

    Args:
        surrogate: what to save.
        path: file to write; must end in ``.safetensors``.
        card: model card in Markdown, which travels in the file's metadata.
        half: store weights as float16, at half the size; they are loaded as float32.

    Raises:
        TypeError: if it is no `Surrogate`.
        ValueError: if the path ends otherwise, or a weight is too large for float16.
        FileNotFoundError: if its folder does not exist.
    """
    if not isinstance(surrogate, Surrogate):
        raise TypeError(f"expected save_surrogate(surrogate, path) with a Surrogate, got {_told(surrogate)}")
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"a surrogate is saved as .safetensors, got {path.name}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path.name}: the folder {path.parent} does not exist")
    weights = {name: tensor.contiguous() for name, tensor in weights_of(surrogate).items()}
    if half:
        weights = {name: w.half() if w.is_floating_point() else w for name, w in weights.items()}
        for name, weight in weights.items():
            if not bool(weight.isfinite().all()):
                raise ValueError(f"{name} does not fit float16; save the surrogate with half=False")
    metadata = {"format": "pt", _CONFIG_KEY: json.dumps(surrogate.config.to_dict())}
    if card:
        metadata[_CARD_KEY] = card
    write_together({path: save(weights, metadata=metadata)})


def add_dice_map(path: str | Path, dice_map: DiceMap) -> None:
    """Write into a checkpoint's file what its stars mean in Dice, and into its card, instead of what it said before.

    Weights, and so stars and `fingerprint`, stay as they are.

    Args:
        path: a ``.safetensors`` file written by `save_surrogate`; replaced atomically.
        dice_map: as `dqe_loss.evaluate.dice_calibration.fit_dice_map` gives it.

    Raises:
        ValueError: the file is damaged, or has no configuration.
    """
    path = Path(path)
    metadata, weights = _read_safetensors(path)
    config = replace(_read_config(metadata, path), dice_map=dice_map)
    card = metadata.get(_CARD_KEY, "").partition(CARD_TITLE)[0].rstrip("\n")
    metadata |= {
        _CONFIG_KEY: json.dumps(config.to_dict()),
        _CARD_KEY: f"{card}\n\n{dice_map.card()}" if card else dice_map.card(),
    }
    write_together({path: save(weights, metadata=metadata)})


def fingerprint(surrogate: Surrogate) -> str:
    """A checksum of what decides a surrogate's stars, weights and configuration."""
    decisive = {name: value for name, value in surrogate.config.to_dict().items() if name not in _NOT_DECISIVE}
    if surrogate.config.task == GLIOMA:  # checkpoints from before there were tasks keep their fingerprints
        del decisive["task"]
    else:
        decisive["task"] = decisive_values(surrogate.config.task)
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode())
    for name, tensor in weights_of(surrogate).items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _told(given: object) -> str:
    """What came in place of a surrogate, and what may have been meant."""
    if isinstance(given, Surrogate):
        return "a Surrogate, which is loaded already"
    if isinstance(getattr(given, "surrogate", None), Surrogate):
        return f"a {type(given).__name__}; hand over its .surrogate"
    if isinstance(given, Real):
        return f"the number {given}; a weight stands before the loss: {given} * DQELoss()"
    return "None" if given is None else f"a {type(given).__name__}"


def _published_weights() -> Path:
    try:
        packaged = files(_PACKAGE) or []
    except PackageNotFoundError:
        packaged = []
    # The distribution's file list, not importlib.resources, which would import the package's parent.
    found = [Path(str(file.locate())) for file in packaged if file.name == _WEIGHTS]
    if not found or not found[0].is_file():
        raise FileNotFoundError(
            f"the published weights come with the package {_PACKAGE}, which is not installed or lacks them; "
            'run: pip install "dqe_loss[published]"'
        )
    return found[0]


def _read_pth(path: Path) -> dict[str, Tensor]:
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen types for a damaged or unsafe file
        raise ValueError(f"{path.name} is no readable PyTorch state dict (weights_only): {error}") from error
    if not isinstance(weights, Mapping) or not all(isinstance(v, Tensor) for v in weights.values()):
        raise ValueError(f"{path.name} holds no plain state dict (names to tensors); save model.state_dict() alone")
    return {name.removeprefix("module."): tensor for name, tensor in weights.items()}


def _read_safetensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata, and weights in the precision that they are stored in."""
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path.name} is damaged or no safetensors file: {error}") from error


def _read_config(metadata: Mapping[str, str], path: Path) -> SurrogateConfig:
    if _CONFIG_KEY not in metadata:
        raise ValueError(f"{path.name} has no dqe_loss configuration in its metadata; write it with save_surrogate")
    try:
        return SurrogateConfig.from_dict(json.loads(metadata[_CONFIG_KEY]))
    except (TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path.name} has a configuration that cannot be read: {error}") from error


def _build(config: SurrogateConfig, weights: dict[str, Tensor], path: Path) -> Surrogate:
    weights = {name: w.float() if w.is_floating_point() else w for name, w in weights.items()}
    try:
        return assemble(config, weights)
    except RuntimeError as error:
        problems = " ".join(str(error).split())
        raise ValueError(f"{path.name} does not fit {config.architecture}: {problems[:400]}") from error
