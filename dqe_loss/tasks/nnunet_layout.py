"""What the folder of an nnU-Net data set tells of a task: how files are named, and how large images and voxels are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError

from dqe_loss.tasks.problems import SMALLEST_SIDE

IMAGES, LABELS = "imagesTr", "labelsTr"
_UNKNOWN = (
    "field_of_view and spacing are not known, for there are no NIfTI images in imagesTr: the task has those of "
    "gliomas, 240 x 240 voxels of 1 mm; write yours"
)
_APART = 0.05
"""How far sizes of voxels may differ, as a share, before that is told (our choice)."""


def read_layout(
    folder: Path, modalities: Sequence[str], ending: str = ".nii.gz"
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """How files are named, and the fields of a task that images tell.

    Args:
        folder: of the data set; its images need not be there.
        modalities: of its channels, in their order.
        ending: of the files, as ``dataset.json`` says.

    Returns:
        ``files`` as a task has them (nothing where files are not NIfTI), ``field_of_view``, ``spacing`` and ``views``
        as far as they are known, and what to know of them, a sentence each.
    """
    if ending not in (".nii.gz", ".nii"):
        cure = "convert them to NIfTI, and say field_of_view, spacing and files"
        return {}, {}, [f"files that end in {ending} are not read: {cure}"]
    numbered = {name: f"{IMAGES}/{{exam}}_{i:04}{ending}" for i, name in enumerate(modalities)}
    files = sorted(path for path in (folder / IMAGES).glob(f"*{ending}") if not path.name.startswith("."))
    first = [path for path in files if path.name.endswith(f"_0000{ending}")]
    if files and not first and len(modalities) == 1:  # as the Medical Segmentation Decathlon has them
        numbered, first = {modalities[0]: f"{IMAGES}/{{exam}}{ending}"}, files
    layout = {"images": numbered, "reference": f"{LABELS}/{{exam}}{ending}"}
    if files and not first:
        return (
            layout,
            {},
            [
                f"{files[0]}: all modalities in one file are not read: split each into files of one modality, "
                f"{', '.join(Path(p).name.replace('{exam}', 'CASE') for p in numbered.values())}, as nnU-Net's "
                "nnUNetv2_convert_MSD_dataset does, and call this again",
                _UNKNOWN,
            ],
        )
    sizes = [found for path in first if (found := _size_of(path)) is not None]
    if not sizes:
        return layout, {}, [_UNKNOWN]
    shapes, voxels = (np.array(column) for column in zip(*sizes, strict=True))
    # Planes of constant Z, Y and X have the sides (X, Y), (X, Z) and (Y, Z).
    largest = shapes.max(0)
    flat = bool((shapes[:, 2] == 1).all())
    sides = (largest[0], largest[1]) if flat else (max(largest[0], largest[1]), max(largest[1], largest[2]))
    spacing = np.median(voxels, axis=0)
    seen: dict[str, Any] = {
        "field_of_view": [max(SMALLEST_SIDE, int(side + side % 2)) for side in sides],
        "spacing": [float(f"{mm:.4g}") for mm in spacing],
    }
    notes = [
        f"field_of_view and spacing are those of the {len(sizes)} images in {IMAGES}: of the largest, and the median; "
        "leave room for exams to come"
    ]
    if (np.abs(voxels / spacing - 1) > _APART).any():
        lowest, highest = (" x ".join(f"{mm:.3g}" for mm in edge(voxels, axis=0)) for edge in (np.min, np.max))
        notes.append(
            f"voxels differ from exam to exam, from {lowest} to {highest} mm: resample images and labels to one size, "
            "for stars are learned at one"
        )
    return layout, seen | ({"views": ["axial"]} if flat else {}), notes


def _size_of(path: Path) -> tuple[tuple[int, ...], tuple[float, ...]] | None:
    """Voxels along X, Y, Z, and their size in mm; None if the file does not tell."""
    try:
        header = nib.load(path).header
    except (OSError, ImageFileError, ValueError):
        return None
    shape, sizes = (*header.get_data_shape(), 1)[:3], (*header.get_zooms(), 1.0)[:3]
    usable = len(shape) == 3 and all(np.isfinite(sizes)) and min(sizes) > 0
    return (shape, tuple(map(float, sizes))) if usable else None
