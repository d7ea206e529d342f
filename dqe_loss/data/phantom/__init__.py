"""Synthetic exams for tests and demonstrations: everything runs without a single real exam."""

from collections.abc import Callable
from dataclasses import dataclass

from dqe_loss.data.exams import Exam
from dqe_loss.extras import needs_extra
from dqe_loss.task import BLOBS, GLIOMA, Task

with needs_extra("train"):
    from dqe_loss.data.phantom.blobs import make_blob
    from dqe_loss.data.phantom.exam import ENDINGS, SIZE, make_phantom

__all__ = ["PHANTOMS", "SIZE", "Phantom", "make_blob", "make_phantom", "phantom_of"]


@dataclass(frozen=True)
class Phantom:
    """How a task's synthetic exams are made.

    Attributes:
        make: draws the exam of a seed.
        prefix: what their names begin with; the seed follows.
        size: voxels along X, Y, Z.
        endings: last part of each modality's file name.
    """

    make: Callable[[int], Exam]
    prefix: str
    size: tuple[int, int, int]
    endings: dict[str, str]

    def name(self, seed: int) -> str:
        """Name of the exam of a seed."""
        return f"{self.prefix}-{seed}"


PHANTOMS = {
    GLIOMA.name: Phantom(make_phantom, "phantom", SIZE, ENDINGS),
    BLOBS.name: Phantom(make_blob, "blobs", (48, 48, 48), {"scan": "scan"}),
}
"""Tasks of which there are synthetic exams."""


def phantom_of(task: Task) -> Phantom:
    """How synthetic exams of a task are made.

    Raises:
        ValueError: if there are none.
    """
    if task.name not in PHANTOMS:
        raise ValueError(
            f"there are no phantoms of the task {task.name!r}, only of {' and '.join(PHANTOMS)}; give exams instead"
        )
    return PHANTOMS[task.name]
