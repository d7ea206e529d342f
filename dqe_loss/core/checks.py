"""What cannot be right is refused, what is suspicious is told: the values of predictions and images (contract C15).

Each of these looks at values, for which an accelerator must be waited for. A loss therefore asks once, at its first
eager call; a metric, which is asked seldom, every time.
"""

import sys
import warnings
from itertools import combinations

import torch
from torch import Tensor

from dqe_loss.core.tensors import as_signed
from dqe_loss.task import GLIOMA

ROUNDING = 1e-3
"""How far beyond [0, 1] a probability may lie: half-precision sums of a softmax do."""
SUM_ROUNDING = 0.01
"""How far probabilities of tissues may sum to more than 1: those of a softmax in bfloat16 do."""
LARGEST_LABEL = 10
"""Whole numbers up to here, and nothing else, are labels and no intensities."""

VOXEL_TOLERANCE = 0.01
"""How far in mm the size of a voxel may be from that of the voxels that surrogates know."""


def check_probabilities(values: Tensor, what: str, cure: str) -> None:
    """Check that values can be probabilities or a binary mask.

    Args:
        values: of any shape and real dtype, with at least one element.
        what: what they are, as the subject of the message: ``"the prediction"``.
        cure: what to say or do if they are logits.

    Raises:
        ValueError: if a value is NaN or lies outside [0, 1], with the range that came.
    """
    low, high = _range(values, what)
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise ValueError(f"{what} is taken as probabilities but has values from {low:.5g} to {high:.5g}: {cure}")


def check_exclusive(probabilities: Tensor) -> None:
    """Check that channels can be background and tissues, which exclude each other: they sum to 1 at most.

    Args:
        probabilities: ``(B, 1 + T, ...)``.

    Raises:
        ValueError: if they sum to more, as those of regions do.
    """
    most = float(probabilities.sum(1, dtype=torch.float32).max())
    if most > 1 + SUM_ROUNDING:
        raise ValueError(
            f"{probabilities.shape[1]} channels are taken as background and tissues, which exclude each other, but "
            f"they sum to {most:.3g} in a voxel: if they are regions, name each of them in region_order=, those that "
            "are not rated, too"
        )


def says_something(values: Tensor) -> bool:
    """Whether a channel of values ``(B, C, ...)`` varies: a head that starts at 0, or an empty crop, tells nothing."""
    values = values.detach().flatten(2)
    return values.dtype == torch.bool or bool((values.amax(2) > values.amin(2)).any())


def check_logits(values: Tensor, what: str, cure: str) -> None:
    """Check that values can be logits: a network's do not all lie in [0, 1], unless each channel is constant.

    Args:
        values: ``(B, C, ...)`` of any real dtype.
        what: what they are, as the subject of the message: ``"the prediction"``.
        cure: what to say or do if they are probabilities.

    Raises:
        ValueError: if a value is NaN, or all lie in [0, 1] and vary in a channel, with the range that came.
    """
    low, high = _range(values, what)
    if low >= 0 and high <= 1 and says_something(values):
        raise ValueError(
            f"{what} is taken as logits, but all of its values lie in [0, 1] (from {low:.3g} to {high:.3g}), as those "
            f"of probabilities or a binary mask: {cure}"
        )


def check_image(
    image: Tensor,
    modalities: tuple[str, ...],
    spacing: tuple[float, float, float] = GLIOMA.spacing,
    segmentation: Tensor | None = None,
) -> None:
    """Check that an image is one, and that its modalities are there and differ.

    Args:
        image: ``(B, C, ...)`` of any real dtype.
        modalities: name of each channel.
        spacing: size in mm of the voxels that the surrogate knows.
        segmentation: ``(B, ...)``, if there is one: where it is not empty, the image must not be.

    Raises:
        ValueError: if it has another number of channels, or holds whole numbers from 1 to `LARGEST_LABEL` and 0 alone:
            a label map, or one-hot labels.

    Warns:
        UserWarning: a modality holds one value, or none that is finite, where another does not, or is there twice; all
            do, where something is segmented; or a MetaTensor's voxels are of another size.
    """
    cure = (
        "a segmentation is rated on its image, not against a reference; pass the scans' intensities "
        f"(B, {len(modalities)}, ...) in the order {', '.join(modalities)}"
    )
    if image.ndim < 4 or image.shape[1] != len(modalities):
        raise ValueError(f"expected an image of {len(modalities)} channels, got shape {tuple(image.shape)}: {cure}")
    image = as_signed(image)
    middle = image.shape[-1] // 2
    # A plane tells of most images that they are none.
    if _are_labels(image[..., middle]) and _are_labels(image) and bool((image >= 1).any()):
        raise ValueError(
            f"the image holds nothing but the whole numbers from {float(image.min()):g} to {float(image.max()):g}, as "
            f"a label map does: {cure}"
        )
    _check_voxels(getattr(image, "affine", None), spacing)
    for exam, scans in enumerate(image):
        there = [_says_anything(scan[..., middle]) or _says_anything(scan) for scan in scans]
        where = f"of exam {exam} in the batch"
        empty = [name for name, filled in zip(modalities, there, strict=True) if not filled]
        if empty and any(there):
            _tell(f"{' and '.join(empty)} {where} is empty or constant", "a missing modality costs stars")
        elif empty and segmentation is not None and bool(segmentation[exam].any()):
            _tell(f"the image {where} is empty or constant, or not finite", "its stars mean nothing")
        for (i, first), (j, second) in combinations(enumerate(modalities), 2):
            if (
                there[i]
                and torch.equal(scans[i, ..., middle], scans[j, ..., middle])
                and torch.equal(scans[i], scans[j])
            ):
                _tell(f"{first} and {second} {where} are the same image", "check how the channels are put together")


def _are_labels(image: Tensor) -> bool:
    """Whether an image holds whole numbers from 0 to some label alone; of zeros alone nobody knows."""
    low, high = (float(bound) for bound in image.aminmax())
    return low >= 0 and high <= LARGEST_LABEL and not (image.is_floating_point() and bool((image % 1).any()))


def _says_anything(scan: Tensor) -> bool:
    """Whether a scan has more than one finite value."""
    finite = scan.nan_to_num(0, 0, 0) if scan.is_floating_point() else scan
    return bool((finite != finite.flatten()[0]).any())


def _check_voxels(affine: Tensor | None, spacing: tuple[float, float, float]) -> None:
    if affine is None or affine.shape[-2:] != (4, 4):  # of a volume
        return
    for sizes in affine.detach().cpu().double()[..., :3, :3].norm(dim=-2).reshape(-1, 3).tolist():
        if not all(abs(size - mm) <= VOXEL_TOLERANCE for size, mm in zip(sizes, spacing, strict=True)):
            _tell(
                f"voxels of the image are {' x '.join(f'{size:.3g}' for size in sizes)} mm",
                f"surrogates have learned from voxels of {describe_spacing(spacing)}; resample image and segmentation",
            )
            return


def describe_spacing(spacing: tuple[float, float, float]) -> str:
    """The size of a voxel in words: ``1 mm``, or ``1 x 1 x 3 mm``."""
    return f"{' x '.join(f'{mm:g}' for mm in (spacing[:1] if len(set(spacing)) == 1 else spacing))} mm"


def _range(values: Tensor, what: str) -> tuple[float, float]:
    if values.dtype == torch.bool:
        return 0.0, 1.0
    low, high = (float(bound) for bound in as_signed(values.detach()).aminmax())
    if not (low == low and high == high):  # NaN is not equal to itself
        raise ValueError(f"{what} holds NaN: the network has diverged, or its input is not finite")
    return low, high


def tell(message: str) -> None:
    """Warn at the line outside of this package and of torch that led here, where a user can do something about it."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ("dqe_loss", "torch"):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)


def _tell(what: str, why: str) -> None:
    tell(f"{what}: {why}")
