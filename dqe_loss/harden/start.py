"""What a hardening begins with: the surrogate to harden, and the one that is made of it to be taught."""

from dataclasses import asdict, replace
from importlib.metadata import version

import torch

from dqe_loss.harden.config import HardenConfig
from dqe_loss.surrogate.checkpoint import load_surrogate
from dqe_loss.surrogate.config import NO_NETWORK, SurrogateConfig
from dqe_loss.surrogate.network import Surrogate, build_network
from dqe_loss.surrogate.refiner import Refiner
from dqe_loss.task import GLIOMA, find_task
from dqe_loss.tasks.reading import check_task


def load_start(config: HardenConfig) -> Surrogate:
    """The surrogate to harden, or one that gives the most stars where there is none.

    Raises:
        ValueError: if it is of another task than the one that was named, or there is no such task or checkpoint.
    """
    named = None if config.task is None else find_task(config.task)
    if config.start == NO_NETWORK:
        task = named or GLIOMA
        return Surrogate(
            SurrogateConfig(
                architecture=NO_NETWORK,
                task=task,
                modalities=task.modalities,
                stars=task.stars,
                field_of_view=task.field_of_view,
                normalization="head_mean" if task.window is None else "window",
                kind_of_ratings="metric",
                data="no ratings: every mask begins with the most stars",
            )
        )
    start = load_surrogate(config.start)
    if named is not None:
        check_task(named, start.config.task, config.start, "give another --task, or another --checkpoint")
    return start


def check_start(start: Surrogate, config: HardenConfig) -> None:
    """Refuse a surrogate that cannot be hardened.

    Raises:
        ValueError: it is hardened already and no predictions are added, or has planes that a refiner cannot take.
    """
    if start.config.refiner is not None and not config.add_predictions:
        raise ValueError(
            f"{config.start} has a refiner already; harden the surrogate that it came from, or teach this one on with "
            "a network's masks, --add-predictions FOLDER"
        )
    taught_by = ("head_mean", "window") if start.config.refiner else ("percentile", "head_mean", "window")
    if start.config.normalization not in taught_by:
        raise ValueError(
            f"{config.start} scales planes by {start.config.normalization!r}, and what a refiner sees is "
            "scaled by 'head_mean', which only stands in for 'percentile'; harden a surrogate trained with either"
        )


def as_the_refiner(config: HardenConfig, start: Surrogate) -> HardenConfig:
    """The hardening with the build and the marks of the refiner that goes on, if there is one.

    Raises:
        ValueError: if others were asked for.
    """
    if start.config.refiner is None:
        return config
    there, defaults = asdict(start.config.refiner), HardenConfig()
    for name, value in there.items():
        if getattr(config, name) not in (getattr(defaults, name), value):
            raise ValueError(
                f"{name} is {getattr(config, name)!r}, and the refiner of {config.start} has {value!r}, which it "
                "keeps; leave the option out"
            )
    return replace(config, **there)


def hardened_surrogate(start: Surrogate, config: HardenConfig, taught: str) -> Surrogate:
    """The surrogate to be taught: a frozen copy of its start, beside a refiner that knows nothing yet, or goes on.

    Args:
        start: what to harden.
        config: the hardening; its seed draws the refiner's weights.
        taught: what the refiner will be taught on, in words.

    Raises:
        ValueError: if the start cannot be hardened, see `check_start`.
    """
    check_start(start, config)
    goes_on = start.config.refiner is not None
    refiner = start.config.refiner or config.refiner()
    origin = start.config.data or "its data is not known"
    told = "" if start.config.architecture == NO_NETWORK or goes_on else f"{start.config.kind_of_ratings} ratings: "
    surrogate_config = replace(
        start.config,
        kind_of_ratings="metric" if start.config.architecture == NO_NETWORK else "hybrid",
        normalization="head_mean" if start.config.task.window is None else "window",
        refiner=refiner,
        center_gradient=False,
        dice_map=None,  # what the stars meant without the refiner
        data=f"{told}{origin}; {'then' if goes_on else 'a refiner,'} taught on {taught}",
        seed=config.seed,
        versions=start.config.versions | {name: version(name) for name in ("dqe_loss", "torch", "monai", "numpy")},
    )
    torch.manual_seed(config.seed)
    build_network(surrogate_config)  # draws what comes before the refiner, whose weights by a seed are to stay
    surrogate = Surrogate(surrogate_config, Refiner(refiner, surrogate_config.task))
    surrogate.network.load_state_dict(start.network.state_dict())
    if goes_on:
        refiner_of(surrogate).load_state_dict(refiner_of(start).state_dict())
    return surrogate


def refiner_of(surrogate: Surrogate) -> Refiner:
    """The refiner of a surrogate that has one.

    Raises:
        ValueError: if it has none.
    """
    if surrogate.refiner is None:
        raise ValueError("expected a surrogate with a refiner, got one without")
    return surrogate.refiner
