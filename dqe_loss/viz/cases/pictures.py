"""The rated planes of a segmentation for a page: gray images as WebP, outlines as SVG paths on top of them."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import contourpy
import numpy as np
import torch
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray
from PIL import Image

from dqe_loss.core.boxes import Box
from dqe_loss.core.center_of_mass import hard_center_of_mass
from dqe_loss.core.labels import SchemeLike, regions_from_labels
from dqe_loss.core.labels import label_scheme as find_scheme
from dqe_loss.core.slicing import VIEW_AXIS
from dqe_loss.data.exams import Exam
from dqe_loss.task import GLIOMA, Task
from dqe_loss.viz.hanging import gray, hung_plane, outlines_of, sides, told_axes, window
from dqe_loss.viz.planes import bounding_box

QUALITY = 70
"""Of WebP, of 100; at 80 a case is a third larger, and looks the same."""


@dataclass(frozen=True)
class ViewPicture:
    """One view of a segmentation: the plane through its center in all modalities.

    Attributes:
        view: ``"axial"``, ``"coronal"`` or ``"sagittal"``.
        index: voxel coordinate of the plane.
        size: width and height of one modality's panel in voxels.
        spacing: mm of a voxel along both.
        strip: WebP of the panels of the task's pictured modalities, side by side.
        outlines: region to an SVG path in half voxels from the panel's upper left corner; empty where it is not cut.
        letters: the patient's side at the panel's left and top, or nothing where the header does not tell.
    """

    view: str
    index: int
    size: tuple[int, int]
    spacing: tuple[float, float]
    strip: bytes
    outlines: dict[str, str]
    letters: tuple[str, str]

    def to_json(self) -> dict[str, Any]:
        """What the page's script draws."""
        image = f"data:image/webp;base64,{base64.b64encode(self.strip).decode()}"
        return vars(self) | {"strip": image}


Key = tuple[str, str]
"""Exam and segmentation."""

Pictures = Mapping[Key, list[ViewPicture] | str]
"""The pictures of flagged segmentations, or why there are none."""


def draw_cases(
    exam: Exam, label_scheme: SchemeLike | None = None, quality: int = QUALITY, task: Task = GLIOMA
) -> dict[str, list[ViewPicture]]:
    """Draw the planes that segmentations were rated in, as radiologists hang them (see `dqe_loss.viz.planes`).

    Of other tasks than the built-in one, files that run to the right, front or bottom are turned for the eye.

    Args:
        exam: the exam, with the segmentations that are drawn; all pictures have one frame.
        label_scheme: the label maps' scheme; the task's default if None.
        quality: of the images, of 100.
        task: what was rated.

    Returns:
        Segmentation to a picture for each of the task's views.
    """
    box = bounding_box(exam, exam.segmentations)
    cases = {}
    for name, labels in exam.segmentations.items():
        regions = regions_from_labels(torch.from_numpy(labels)[None, None], find_scheme(label_scheme, task))
        center = hard_center_of_mass(regions, task)[0].tolist()
        masks = dict(zip(task.regions, regions[0].numpy(), strict=True))
        cases[name] = [_draw_view(exam, masks, view, center, box, quality, task) for view in task.views]
    return cases


def _draw_view(
    exam: Exam, masks: dict[str, NDArray[Any]], view: str, center: list[int], box: Box, quality: int, task: Task
) -> ViewPicture:
    codes = told_axes(exam.affine, task)

    def hung(volume: NDArray[Any]) -> NDArray[Any]:
        return hung_plane(volume, view, center, box, codes)

    places = [task.modalities.index(modality) for modality in task.pictured]
    panels = [_gray(hung(exam.image[i]), task) for i in places]
    height, width = panels[0].shape
    content = io.BytesIO()
    Image.fromarray(np.hstack(panels)).save(content, "WEBP", quality=quality)
    axis = VIEW_AXIS[view]
    across, down = (size for other, size in enumerate(voxel_sizes(exam.affine).tolist()) if other != axis)
    letters = sides(view) if codes else ("", "")
    outlines = {region: outline_path(hung(masks[region])) for region in outlines_of(task)}
    return ViewPicture(view, center[axis], (width, height), (across, down), content.getvalue(), outlines, letters)


def outline_path(mask: NDArray[np.bool_]) -> str:
    """The outline of a mask (height, width) as an SVG path, in half pixels from the upper left corner.

    Example:
        >>> outline_path(np.array([[False, False], [False, True]]))
        'M2 3l1-1 1 1-1 1z'
    """
    # Padded, so that a region that the frame cuts is closed; on a binary mask all crossings are at half pixels.
    generator = contourpy.contour_generator(z=np.pad(mask, 1).astype(np.float32), line_type=contourpy.LineType.Separate)
    return "".join(_path(np.rint(2 * np.asarray(line)).astype(int) - 1) for line in generator.lines(0.5))


def _path(points: NDArray[np.int64]) -> str:
    """A closed line: an absolute start and relative steps, those of one direction joined."""
    steps = np.diff(points, axis=0)
    turns = np.flatnonzero((steps[1:] != steps[:-1]).any(1))
    corners = np.concatenate(([0], turns + 1, [len(points) - 1]))
    moves = np.diff(points[corners], axis=0)[:-1].ravel().tolist()
    text = " ".join(map(str, moves)).replace(" -", "-")
    return f"M{points[0, 0]} {points[0, 1]}l{text}z"


def _gray(plane: NDArray[Any], task: Task) -> NDArray[np.uint8]:
    shades = gray(plane.astype(np.float32), *(task.window or window(plane[plane > 0])))
    levels: NDArray[np.uint8] = np.rint(255 * shades).astype(np.uint8)
    return levels
