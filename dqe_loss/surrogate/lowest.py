"""Which planes gave the stars: those of the only place that was looked at, or of the place with a view's lowest stars.

`rate_segmentation` and the command rate look through one or several places (`dqe_loss.core.centers`). Whatever shows or
explains stars must take the planes that they are of.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dqe_loss.core.mask import Mask
from dqe_loss.core.pipeline import Sampling
from dqe_loss.core.slicing import VIEW_AXIS
from dqe_loss.surrogate.rater import Rater
from dqe_loss.surrogate.rating import cut_places, named_centers, rate_places
from dqe_loss.surrogate.survey import is_surveyed, survey


@dataclass(frozen=True)
class LowestPlanes:
    """The whole planes that a batch of segmentations has its stars from.

    Attributes:
        center: ``(B, 3)`` int64: along each view's axis the coordinate of its plane, so that `rate_segmentation` gives
            the same stars through this center.
        places: for each segmentation the view to the place that its plane goes through, of
            `dqe_loss.core.centers.CENTERS`.
    """

    center: Tensor
    places: tuple[dict[str, str], ...]


@torch.no_grad()
def lowest_planes(
    rater: Rater,
    image: Tensor,
    mask: Mask,
    centers: tuple[str, ...] = ("mask",),
    modalities: tuple[str, ...] | None = None,
    thorough: bool = False,
) -> LowestPlanes:
    """Find the planes that count.

    Args:
        rater: the network; asked only if there are several places to choose from.
        image: intensities ``(B, 4, X, Y, Z)``.
        mask: the segmentations, of the image's size.
        centers: where the planes lie, see `dqe_loss.rate_segmentation`.
        modalities: the image's channel order; the task's if None.
        thorough: whether the stars are those under a survey's ceiling, if there is a refiner.

    Raises:
        ValueError: if shapes or names are not as said.
    """
    views = rater.config.task.views
    through = named_centers(image, mask, centers, True, modalities, rater.config.task)
    chosen = torch.zeros(len(views), image.shape[0], dtype=torch.int64)
    if len(through) > 1:
        places = cut_places(rater.config, image, mask, through, Sampling(views), modalities)
        seen = survey(rater, image, mask, modalities=modalities) if is_surveyed(rater.config, thorough) else None
        chosen = rate_places(rater, places, seen).argmin(0).T.cpu()
    center = through[0].clone()
    for view, row in zip(views, chosen.tolist(), strict=True):
        for exam, place in enumerate(row):
            center[exam, VIEW_AXIS[view]] = through[place][exam, VIEW_AXIS[view]]
    names = ({view: centers[i] for view, i in zip(views, column, strict=True)} for column in chosen.T.tolist())
    return LowestPlanes(center, tuple(names))
