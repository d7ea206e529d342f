"""Find the exams of a table of paths: a row for each segmentation, columns as in a table of ratings."""

from pathlib import Path

from dqe_loss.data.discovery.cohort import FoundExam, name_masks
from dqe_loss.data.file_names import file_at
from dqe_loss.data.tables.table import absolute_path, other_images, raise_problems, read_table
from dqe_loss.task import GLIOMA, Task


def find_in_table(path: Path, task: Task = GLIOMA) -> list[FoundExam]:
    """Find the exams of a table of paths.

    Args:
        path: a ``.csv`` or ``.parquet`` file with the columns ``exam``, ``segmentation`` (its path), and each of the
            task's modalities; paths relative to its folder. A table of ratings is one, too: segmentations that
            several raters judged count once.
        task: what an exam holds.

    Returns:
        The exams by name. A segmentation is named by its path in the folder of the first image, or else by its file.
        Files that are not there are not missed here, but when the exam is read.

    Raises:
        TableError: listing every problem with its row: cells without a name, exams whose images differ from row to row.
    """
    columns = ("exam", "segmentation", *task.modalities)
    table = read_table(path, columns, "table of paths", task=task)
    problems = [
        f"{row['row']}: {name} '': expected a {'name' if name == 'exam' else 'path'}, found nothing"
        for row in table.to_dict("records")
        for name in columns
        if not row[name].strip()
    ]
    raise_problems(problems)
    cases = []
    for exam, rows in table.groupby("exam"):
        problems += other_images(rows, str(exam), task)
        images = {name: file_at(absolute_path(rows[name].iloc[0], path.parent)) for name in task.modalities}
        files = [file_at(absolute_path(file, path.parent)) for file in dict.fromkeys(rows["segmentation"])]
        masks = name_masks(files, next(iter(images.values())).parent)
        cases.append(FoundExam(str(exam), images, masks, planar=task.planar))
    raise_problems(problems)
    return cases
