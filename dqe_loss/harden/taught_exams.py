"""The exams that a refiner is taught on: scans, reference, and a stock of wrong masks, kept on disk.

A training looks at single planes. Exams are prepared once and mapped into memory, so that any number of them can be
taught on, all processes that make batches share them, and a cross-validation prepares none twice.
"""

import hashlib
import json
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dqe_loss.audit.audited_exam import AuditedExam
from dqe_loss.core.boxes import array_box
from dqe_loss.core.intensity import by_head_mean, scale_planes
from dqe_loss.core.slicing import VIEW_AXIS
from dqe_loss.data.corruption import CORRUPTIONS, Step, corrupt
from dqe_loss.data.corruption.label_maps import Labels
from dqe_loss.task import GLIOMA, Task
from dqe_loss.tasks.reading import error_values

MARGIN = 8
"""Voxels kept around the brain: errors may reach out of it a little."""
MOST_ERRORS = 3
"""Errors in a row that a mask of the stock may have."""
ARRAYS = ("image", "reference", "stock")
"""What is kept of an exam, each in a file of its own."""
PREDICTIONS = "predictions"
"""And this, where there are any."""
_FORMAT = 1
"""To be raised when what is kept of the same exam changes."""


@dataclass(frozen=True)
class TaughtExam:
    """An exam on disk, cropped to its brain; its arrays are mapped into memory when they are looked at.

    Attributes:
        name: what to call it.
        folder: where its arrays are.
        synthetic: whether it is a phantom.
        task: what is segmented.
        predicted: number of predictions of networks that were added.
    """

    name: str
    folder: Path
    synthetic: bool
    task: Task = GLIOMA
    predicted: int = 0

    @property
    def image(self) -> NDArray[np.float16]:
        """Intensities ``(C, X, Y, Z)``, each modality in units of its own mean over the head, or in its window."""
        return _mapped(self.folder / "image.npy")

    @property
    def reference(self) -> Labels:
        """Labels ``(X, Y, Z)`` in the canonical scheme."""
        return _mapped(self.folder / "reference.npy")

    @property
    def stock(self) -> Labels:
        """Other masks of the same kind, ``(N, X, Y, Z)``: natural ones where there are any, and wrong ones."""
        return _mapped(self.folder / "stock.npy")

    @property
    def predictions(self) -> Labels:
        """What networks that are to be judged made of the exam, ``(predicted, X, Y, Z)``; one at least."""
        return _mapped(self.folder / f"{PREDICTIONS}.npy")

    def planes_with_tumor(self, view: str) -> NDArray[np.intp]:
        """Indices of the planes of a view that hold a label."""
        return _with_tumor(self.folder / "reference.npy", VIEW_AXIS[view])


@cache
def _mapped(path: Path) -> NDArray[Any]:
    array: NDArray[Any] = np.load(path, mmap_mode="r")
    return array


@cache
def _with_tumor(reference: Path, axis: int) -> NDArray[np.intp]:
    others = tuple(a for a in range(3) if a != axis)
    return np.flatnonzero(_mapped(reference).any(others))


def prepare_exam(
    case: AuditedExam,
    folder: Path,
    *,
    errors: int,
    natural: Sequence[Labels] = (),
    synthetic: bool,
    seed: int = 0,
    predictions: Sequence[Labels] = (),
) -> TaughtExam:
    """Crop an exam and make its stock of wrong masks, or find what was prepared before.

    Args:
        case: the exam.
        folder: for prepared exams: an entry is found again by its content and by what its stock depends on.
        errors: number of corrupted masks.
        natural: segmentations of this exam by people or algorithms, good or bad, in the canonical scheme.
        synthetic: whether it is a phantom.
        seed: of the errors.
        predictions: masks of networks that are to be judged, in the canonical scheme; kept apart from the stock.

    Raises:
        ValueError: the exam has no brain.
        OSError: the folder cannot be written, or an entry in it is damaged.
    """
    digest = hashlib.sha256(f"{_FORMAT} {case.name} {errors} {seed}".encode())
    if case.task != GLIOMA:
        digest.update(json.dumps(error_values(case.task, case.task.canonical)).encode())
    for array in (case.image.numpy(), case.labels, *natural):
        digest.update(np.ascontiguousarray(array).tobytes())
    for array in predictions:
        digest.update(PREDICTIONS.encode() + np.ascontiguousarray(array).tobytes())
    entry = folder / f"{case.name}-{digest.hexdigest()[:12]}"
    if not entry.exists():
        arrays = _prepared(case, errors, natural, seed)
        if predictions:
            box = _box_of(case)
            arrays |= {PREDICTIONS: np.stack([mask[box] for mask in predictions])}
        _keep(entry, arrays)
    elif not all((entry / f"{name}.npy").is_file() for name in (*ARRAYS, *([PREDICTIONS] if predictions else []))):
        raise OSError(f"{entry}: a prepared exam lacks a file; delete the folder and start again")
    return TaughtExam(case.name, entry, synthetic, case.task, len(predictions))


def _keep(entry: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an entry under another name and rename it, so that it is there whole or not at all."""
    part = entry.with_name(f".{entry.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        part.mkdir(parents=True)
        for name, array in arrays.items():
            np.save(part / f"{name}.npy", array)
        part.rename(entry)
    except OSError as error:
        if not entry.is_dir():  # else another process was faster, with the same content
            raise OSError(f"{entry}: the prepared exam cannot be written ({error})") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _box_of(case: AuditedExam) -> tuple[slice, ...]:
    """The part of an exam that is kept."""
    box = array_box(case.brain | (case.labels > 0), MARGIN)
    if box is None:  # read_audited_exam refuses exams without a reference
        raise ValueError(f"{case.name}: expected an exam with a brain and a {case.task.subject}, found neither")
    return box


def _prepared(case: AuditedExam, errors: int, natural: Sequence[Labels], seed: int) -> dict[str, NDArray[Any]]:
    box = _box_of(case)
    labels, brain = case.labels[box], case.brain[box]
    rng = case.rng(seed, "stock")
    stock = [mask[box] for mask in natural]
    stock += [corrupt(labels, draw_errors(rng), rng=rng, brain=brain, task=case.task) for _ in range(errors)]
    image = case.image[0, :, box[0], box[1], box[2]].float()
    if case.task.window is not None:
        image = scale_planes(image, "window", window=case.task.window)
        return {"image": image.half().numpy(), "reference": labels, "stock": np.stack(stock)}
    image = image.nan_to_num(0, 0, 0)
    head = image > 0
    mean = (image * head).sum((1, 2, 3), keepdim=True) / head.sum((1, 2, 3), keepdim=True).clamp(min=1)
    image = image / torch.where(mean > 0, mean, torch.ones_like(mean))
    return {"image": image.half().numpy(), "reference": labels, "stock": np.stack(stock)}


def draw_errors(rng: np.random.Generator) -> list[Step]:
    """One to `MOST_ERRORS` kinds of errors of any severity, small ones more often."""
    names = [name for name in CORRUPTIONS if name != "other"]
    count = int(rng.integers(1, MOST_ERRORS + 1))
    return [(str(name), float(rng.uniform(0.03, 1) ** 1.5)) for name in rng.choice(names, count, replace=False)]


def scaled_plane(exam: TaughtExam, view: str, index: int) -> Tensor:
    """Scans ``(C, H, W)`` in [0, 1], as the rating scales them."""
    plane = torch.from_numpy(np.take(exam.image, index, 1 + VIEW_AXIS[view]).astype(np.float32))
    if exam.task.window is not None:
        return plane  # scaled when it was prepared
    # Raw images, which are most, need no look for z-scores: the same result in a third of the time.
    return by_head_mean(plane) if plane.amin() >= 0 else scale_planes(plane, "head_mean")


def label_plane(volume: Labels, view: str, index: int) -> Tensor:
    """Labels ``(H, W)``."""
    return torch.from_numpy(np.ascontiguousarray(np.take(volume, index, VIEW_AXIS[view])))
