"""Whether a data set and its plans fit, and what the loss has to know of them: asked before hours are lost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dqe_loss.core.checks import VOXEL, VOXEL_TOLERANCE
from dqe_loss.data.discovery.nnunet import channels_of
from dqe_loss.integrations.nnunet.labels import NnunetLabels, read_labels
from dqe_loss.integrations.nnunet.orientation import Orientation, orientation_of
from dqe_loss.losses.dqe import MINIMUM_CROP
from dqe_loss.task import GLIOMA

OWN_TRAINER = "say the order in a trainer of your own, such as dqe_modalities = ('t1', 't1c', 't2', 'flair')"


@dataclass(frozen=True)
class Fit:
    """What the loss has to know of a data set and a configuration.

    Attributes:
        modalities: the modality of each channel.
        labels: what prediction and target hold.
        orientation: how batches lie in space.
        patch: size of the patches, in nnU-Net's axes.
        masked: for each channel whether what lies outside the head is 0 in it.
    """

    modalities: tuple[str, ...]
    labels: NnunetLabels
    orientation: Orientation
    patch: tuple[int, ...]
    masked: tuple[bool, ...]

    def __str__(self) -> str:
        """In words, for a log."""
        size = " x ".join(map(str, self.patch))
        what = f"{self.orientation.view} planes" if self.orientation.view else "patches"
        return f"{what} of {size} voxels ({', '.join(self.orientation.axes)})"


def fit(
    dataset_json: Mapping[str, Any],
    plans: Any,
    configuration: Any,
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
        modalities: of the channels, where ``dataset.json`` does not tell.
        regions: see `read_labels`.
        scheme: see `read_labels`.
        pad: whether patches may be smaller than can be rated well.

    Raises:
        ValueError: if something does not fit, and what to do.
    """
    patch = tuple(int(side) for side in configuration.patch_size)
    check_configuration(configuration, pad)
    return Fit(
        modalities or read_modalities(dataset_json),
        read_labels(dataset_json, regions, scheme),
        orientation_of(plans.plans["image_reader_writer"], plans.transpose_forward, len(patch)),
        patch,
        tuple(bool(masked) for masked in configuration.use_mask_for_norm),
    )


def read_modalities(dataset_json: Mapping[str, Any]) -> tuple[str, ...]:
    """The modality of each channel.

    Raises:
        ValueError: if they are not each of the task's once.
    """
    return channels_of(dataset_json, "dataset.json", OWN_TRAINER)


def check_configuration(configuration: Any, pad: bool = False) -> None:
    """Check that a configuration's patches can be rated.

    Args:
        configuration: nnU-Net's ``ConfigurationManager``.
        pad: whether patches may be smaller than can be rated well.

    Raises:
        ValueError: if it is a cascade's, its voxels are not 1 mm, or its patches are too small or too large.
    """
    if configuration.previous_stage_name is not None:
        raise ValueError(
            f"it is the second stage of a cascade, whose first ({configuration.previous_stage_name}) has voxels that "
            "cannot be rated; take 3d_fullres or 2d"
        )
    if any(abs(spacing - VOXEL) > VOXEL_TOLERANCE for spacing in configuration.spacing):
        raise ValueError(
            f"its voxels are {_by(configuration.spacing)} mm, but surrogates know voxels of {VOXEL:g} mm; plan with "
            "-overwrite_target_spacing 1 1 1, and preprocess again"
        )
    patch = configuration.patch_size
    if min(patch) < MINIMUM_CROP and not pad:
        raise ValueError(
            f"its patches of {_by(patch)} voxels are smaller than {MINIMUM_CROP} along an axis, so none of them could "
            "be rated; plan larger ones (patch_size in the plans, or more -gpu_memory_target), or take "
            "nnUNetTrainerDQE_smallPatches, which rates them padded, less truly"
        )
    if max(patch) > min(GLIOMA.field_of_view):
        raise ValueError(
            f"its patches of {_by(patch)} voxels are larger than the {_by(GLIOMA.field_of_view)} that surrogates see; "
            "plan smaller ones (patch_size in the plans)"
        )


def _by(sizes: Sequence[float]) -> str:
    return " x ".join(f"{size:g}" for size in sizes)
