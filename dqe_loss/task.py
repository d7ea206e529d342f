"""What is rated: which scans, which regions, and where in a volume the planes lie; the names that users need.

A `Task` is made in Python, read from a file (`read_task`), or one of those that come with the package
(`dqe_loss.tasks`). A checkpoint carries its own.
"""

from dqe_loss.tasks.blobs import BLOBS
from dqe_loss.tasks.definition import FileNames, SchemeLabels, Task
from dqe_loss.tasks.glioma import GLIOMA
from dqe_loss.tasks.label_scheme import LabelScheme
from dqe_loss.tasks.problems import TaskError
from dqe_loss.tasks.reading import BUILT_IN, find_task, read_task

__all__ = [
    "BLOBS",
    "BUILT_IN",
    "GLIOMA",
    "MODALITIES",
    "REGIONS",
    "FileNames",
    "LabelScheme",
    "SchemeLabels",
    "Task",
    "TaskError",
    "find_task",
    "read_task",
]

MODALITIES = GLIOMA.modalities
"""Channel order of images of the built-in task, which is the published surrogate's."""

REGIONS = GLIOMA.regions
"""Channel order of its region tensors."""
