"""Find the exams of a table of paths: a row for each segmentation, columns as in a table of ratings."""

from pathlib import Path

from dqe_loss.core.intensity import MODALITIES
from dqe_loss.data.discovery.cohort import FoundExam, name_masks
from dqe_loss.data.file_names import file_at
from dqe_loss.data.tables.table import absolute_path, raise_problems, read_table

COLUMNS = ("exam", "segmentation", *MODALITIES)


def find_in_table(path: Path) -> list[FoundExam]:
    """Find the exams of a table of paths.

    Args:
        path: a ``.csv`` or ``.parquet`` file with the columns ``exam``, ``segmentation`` (its path), ``t1c``, ``t1``,
            ``t2``, ``flair``; paths relative to its folder. A table of ratings is one, too: segmentations that several
            raters judged count once.

    Returns:
        The exams by name. A segmentation is named by its path in the folder of T1c, or else by its file. Files that
        are not there are not missed here, but when the exam is read.

    Raises:
        TableError: listing every problem with its row: cells without a name, exams whose images differ from row to row.
    """
    table = read_table(path, COLUMNS, "table of paths")
    problems = [
        f"{row['row']}: {name} '': expected a {'name' if name == 'exam' else 'path'}, found nothing"
        for row in table.to_dict("records")
        for name in COLUMNS
        if not row[name].strip()
    ]
    raise_problems(problems)
    cases = []
    for exam, rows in table.groupby("exam"):
        for name in MODALITIES:
            other = rows[rows[name] != rows[name].iloc[0]]
            if len(other):
                problems.append(
                    f"{other['row'].iloc[0]}: exam {exam} has another {name} here than in {rows['row'].iloc[0]}"
                )
        images = {name: file_at(absolute_path(rows[name].iloc[0], path.parent)) for name in MODALITIES}
        files = [file_at(absolute_path(file, path.parent)) for file in dict.fromkeys(rows["segmentation"])]
        cases.append(FoundExam(str(exam), images, name_masks(files, images["t1c"].parent)))
    raise_problems(problems)
    return cases
