"""Whether a data set and its plans fit a surrogate, and what the loss has to know of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dqe_loss.core.checks import VOXEL_TOLERANCE, describe_spacing
from dqe_loss.data.discovery.nnunet import channels_of
from dqe_loss.integrations.nnunet.labels import NnunetLabels, read_labels
from dqe_loss.integrations.nnunet.orientation import FLIPPED, Orientation, orientation_of
from dqe_loss.integrations.nnunet.units import Units, units_of
from dqe_loss.task import GLIOMA, Task


@dataclass(frozen=True)
class Fit:
    """What the loss has to know of a data set and a configuration.

    Attributes:
        modalities: the modality of each channel.
        labels: what prediction and target hold.
        orientation: how batches lie in space.
        patch: size of the patches, in nnU-Net's axes.
        masked: for each channel whether what lies outside the head is 0 in it.
        units: of each channel, how its values become those of the scan; empty where units do not matter.
    """

    modalities: tuple[str, ...]
    labels: NnunetLabels
    orientation: Orientation
    patch: tuple[int, ...]
    masked: tuple[bool, ...]
    units: tuple[Units, ...] = ()

    def __str__(self) -> str:
        """In words, for a log."""
        size = " x ".join(map(str, self.patch))
        what = f"{self.orientation.view} planes" if self.orientation.view else "patches"
        return f"{what} of {size} voxels ({', '.join(self.orientation.axes)})"

    def as_scanned(self, image: Tensor) -> Tensor:
        """An image ``(B, C, ...)`` in the units of its scans, where a surrogate needs them."""
        if not self.units:
            return image
        return torch.stack([unit.factor * image[:, i] + unit.offset for i, unit in enumerate(self.units)], 1)


def fit(
    dataset_json: Mapping[str, Any],
    plans: Any,
    configuration: Any,
    task: Task = GLIOMA,
    *,
    modalities: tuple[str, ...] = (),
    regions: tuple[str, ...] = (),
    scheme: str = "",
    pad: bool = False,
) -> Fit:
    """Read what the loss has to know.

    Args:
        dataset_json: content of the file.
        plans: nnU-Net's ``PlansManager``.
        configuration: its ``ConfigurationManager``.
        task: what the surrogate rates.
        modalities: of the channels, where ``dataset.json`` does not tell.
        regions: see `read_labels`.
        scheme: see `read_labels`.
        pad: whether patches may be smaller than can be rated well.

    Raises:
        ValueError: if something does not fit, and what to do.
    """
    orientation = check_configuration(plans, configuration, task, pad)
    return Fit(
        modalities or read_modalities(dataset_json, task),
        read_labels(dataset_json, task, regions, scheme),
        orientation,
        tuple(int(side) for side in configuration.patch_size),
        tuple(bool(masked) for masked in configuration.use_mask_for_norm),
        units_of(plans, configuration, task),
    )


def read_modalities(dataset_json: Mapping[str, Any], task: Task) -> tuple[str, ...]:
    """The modality of each channel.

    Raises:
        ValueError: if they are not each of the task's once.
    """
    order = task.files.channels or task.modalities
    own_trainer = f"say the order in a trainer of your own, such as dqe_modalities = {order}"
    return channels_of(dataset_json, "dataset.json", own_trainer, task)


def check_configuration(plans: Any, configuration: Any, task: Task, pad: bool = False) -> Orientation:
    """Check that a configuration's patches can be rated.

    Args:
        plans: nnU-Net's ``PlansManager``.
        configuration: its ``ConfigurationManager``.
        task: what the surrogate rates.
        pad: whether patches may be smaller than can be rated well.

    Returns:
        How its batches lie in space.

    Raises:
        ValueError: if it is a cascade's, its voxels are not the task's, its axes or planes are not known, or its
            patches are too small or too large.
    """
    if configuration.previous_stage_name is not None:
        raise ValueError(
            f"it is the second stage of a cascade, whose first ({configuration.previous_stage_name}) has voxels that "
            "cannot be rated; take 3d_fullres or 2d"
        )
    orientation = _orientation(plans, len(configuration.patch_size), task)
    known = [task.spacing["XYZ".index(axis)] for axis in orientation.axes]
    if any(abs(a - b) > VOXEL_TOLERANCE for a, b in zip(configuration.spacing, known, strict=True)):
        target = " ".join(f"{mm:g}" for mm in reversed(task.spacing))  # nnU-Net counts from Z
        cure = f"plan with -overwrite_target_spacing {target}, and preprocess again"
        if configuration.next_stage_names:  # it is coarser than the target whatever that is
            cure = "it is the first stage of a cascade: take 3d_fullres or 2d"
        raise ValueError(
            f"its voxels are {_by(configuration.spacing)} mm ({', '.join(orientation.axes)}), but surrogates know "
            f"voxels of {describe_spacing(task.spacing)}; {cure}"
        )
    patch, smallest = configuration.patch_size, task.smallest_crop
    sides = orientation.rated_sides(patch, task.views)
    if min(sides) < smallest and not pad:
        raise ValueError(
            f"its patches of {_by(patch)} voxels are smaller than {smallest} along an axis, so none of them could "
            "be rated; plan larger ones (patch_size in the plans, or more -gpu_memory_target), or take "
            "nnUNetTrainerDQE_smallPatches, which rates them padded, less truly"
        )
    if max(sides) > min(task.field_of_view):
        raise ValueError(
            f"its patches of {_by(patch)} voxels are larger than the {_by(task.field_of_view)} that surrogates see; "
            "plan smaller ones (patch_size in the plans)"
        )
    return orientation


def _orientation(plans: Any, dimensions: int, task: Task) -> Orientation:
    """How batches lie, where a surrogate knows them so."""
    reader = plans.plans["image_reader_writer"]
    if not task.lps and FLIPPED.get(reader):
        raise ValueError(
            f"the plans read images by {reader}, which turns them, but surrogates of the task {task.name!r} know them "
            "as they lie in their files; set overwrite_image_reader_writer to NibabelIO in dataset.json, and plan and "
            "preprocess again"
        )
    orientation = orientation_of(reader, plans.transpose_forward, dimensions)
    if orientation.view not in ("", *task.views) or (task.planar and not orientation.view):
        what = f"{orientation.view} planes" if orientation.view else "volumes"
        only = "single planes" if task.planar else f"{', '.join(task.views)} planes"
        cure = "take 2d" if task.planar and not orientation.view else "take 3d_fullres"
        raise ValueError(f"its patches are {what}, but surrogates of the task {task.name!r} know {only}; {cure}")
    return orientation


def _by(sizes: Sequence[float]) -> str:
    return " x ".join(f"{size:g}" for size in sizes)
