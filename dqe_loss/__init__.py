"""Train segmentation networks against human judgment: DQELoss and what surrounds it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dqe_loss.checkpoint import load_surrogate, save_surrogate
    from dqe_loss.composition import LossSum
    from dqe_loss.intensity import MODALITIES, scale_planes
    from dqe_loss.labels import LABEL_SCHEMES, REGIONS, check_labels, regions_from_labels, regions_from_tissues
    from dqe_loss.loss import DQELoss, dqe_loss
    from dqe_loss.metric import DQEMetric
    from dqe_loss.origin import crop_origin
    from dqe_loss.rating import rate_segmentation
    from dqe_loss.slicing import VIEWS, extract_planes, hard_center_of_mass, pad_planes, soft_center_of_mass
    from dqe_loss.surrogate import Surrogate, SurrogateConfig

__version__ = "0.1.0"

__all__ = [
    "LABEL_SCHEMES",
    "MODALITIES",
    "REGIONS",
    "VIEWS",
    "DQELoss",
    "DQEMetric",
    "LossSum",
    "Surrogate",
    "SurrogateConfig",
    "check_labels",
    "crop_origin",
    "dqe_loss",
    "extract_planes",
    "hard_center_of_mass",
    "load_surrogate",
    "pad_planes",
    "rate_segmentation",
    "regions_from_labels",
    "regions_from_tissues",
    "save_surrogate",
    "scale_planes",
    "soft_center_of_mass",
]

# Imported when they are first used: torch and MONAI take seconds, which `dqe --help` must not.
_NAMES_OF = {
    "checkpoint": "load_surrogate save_surrogate",
    "composition": "LossSum",
    "intensity": "MODALITIES scale_planes",
    "labels": "LABEL_SCHEMES REGIONS check_labels regions_from_labels regions_from_tissues",
    "loss": "DQELoss dqe_loss",
    "metric": "DQEMetric",
    "origin": "crop_origin",
    "rating": "rate_segmentation",
    "slicing": "VIEWS extract_planes hard_center_of_mass pad_planes soft_center_of_mass",
    "surrogate": "Surrogate SurrogateConfig",
}
_HOME_OF = {name: module for module, names in _NAMES_OF.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Import a public name where it is asked for."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
