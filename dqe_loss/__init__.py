"""Train segmentation networks against human judgment: DQELoss and what surrounds it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dqe_loss.core.center_of_mass import hard_center_of_mass, soft_center_of_mass
    from dqe_loss.core.intensity import scale_planes
    from dqe_loss.core.labels import LABEL_SCHEMES, check_labels, regions_from_labels, regions_from_tissues
    from dqe_loss.core.origin import crop_origin
    from dqe_loss.core.slicing import VIEWS, extract_planes, pad_planes
    from dqe_loss.losses.dqe import DQELoss
    from dqe_loss.losses.missing_stars import dqe_loss
    from dqe_loss.losses.star_weighted import StarWeighted
    from dqe_loss.losses.sum import LossSum
    from dqe_loss.metrics.best_of import BestOf, best_of
    from dqe_loss.metrics.monai import DQEMetric
    from dqe_loss.surrogate.checkpoint import load_surrogate, save_surrogate
    from dqe_loss.surrogate.config import SurrogateConfig
    from dqe_loss.surrogate.network import Surrogate
    from dqe_loss.surrogate.rating import rate_segmentation
    from dqe_loss.task import BLOBS, GLIOMA, MODALITIES, REGIONS, Task, read_task

__version__ = "0.1.0"

__all__ = [
    "BLOBS",
    "GLIOMA",
    "LABEL_SCHEMES",
    "MODALITIES",
    "REGIONS",
    "VIEWS",
    "BestOf",
    "DQELoss",
    "DQEMetric",
    "LossSum",
    "StarWeighted",
    "Surrogate",
    "SurrogateConfig",
    "Task",
    "best_of",
    "check_labels",
    "crop_origin",
    "dqe_loss",
    "extract_planes",
    "hard_center_of_mass",
    "load_surrogate",
    "pad_planes",
    "rate_segmentation",
    "read_task",
    "regions_from_labels",
    "regions_from_tissues",
    "save_surrogate",
    "scale_planes",
    "soft_center_of_mass",
]

# Imported when they are first used: torch and MONAI take seconds, which `dqe --help` must not.
_NAMES_OF = {
    "core.center_of_mass": "hard_center_of_mass soft_center_of_mass",
    "core.intensity": "scale_planes",
    "core.labels": "LABEL_SCHEMES check_labels regions_from_labels regions_from_tissues",
    "core.origin": "crop_origin",
    "core.slicing": "VIEWS extract_planes pad_planes",
    "losses.dqe": "DQELoss",
    "losses.missing_stars": "dqe_loss",
    "losses.star_weighted": "StarWeighted",
    "losses.sum": "LossSum",
    "metrics.best_of": "BestOf best_of",
    "metrics.monai": "DQEMetric",
    "surrogate.checkpoint": "load_surrogate save_surrogate",
    "surrogate.config": "SurrogateConfig",
    "surrogate.network": "Surrogate",
    "surrogate.rating": "rate_segmentation",
    "task": "BLOBS GLIOMA MODALITIES REGIONS Task read_task",
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
