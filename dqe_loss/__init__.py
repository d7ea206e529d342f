"""Train segmentation networks against human judgment: DQELoss and what surrounds it."""

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
