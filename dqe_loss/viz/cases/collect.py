"""The pictures of rated segmentations, from the files that a rated table names."""

import warnings

import pandas as pd
from tqdm import tqdm

from dqe_loss.data.exam_files import ExamPaths
from dqe_loss.data.exams import read_exam
from dqe_loss.data.file_names import file_at
from dqe_loss.data.nifti import ExamError
from dqe_loss.task import Task
from dqe_loss.viz.cases.pictures import Pictures, ViewPicture, draw_cases


def read_pictures(rows: pd.DataFrame, task: Task) -> Pictures:
    """Draw segmentations; each exam is read once, one at a time.

    Args:
        rows: rows of a rated table that have stars, with absolute paths.
        task: what was rated.

    Returns:
        Exam and segmentation to pictures, or to the reason why there are none: a file that has gone since, say.
    """
    pictures: dict[tuple[str, str], list[ViewPicture] | str] = {}
    groups = rows.groupby(["exam", *task.modalities, "label_scheme"], sort=False)
    for (name, *files, named), part in tqdm(groups, desc="pictures", unit="exam", leave=False, disable=None):
        keys = [(str(name), str(segmentation)) for segmentation in part["segmentation"]]
        masks = tuple(map(file_at, part["mask"]))
        images = dict(zip(task.modalities, map(file_at, files), strict=True))
        paths, scheme = ExamPaths(images, masks, str(name), task.planar), task.scheme(str(named))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # the table tells them
                exam = read_exam(paths, label_scheme=scheme, task=task)
        except ExamError as error:
            pictures |= dict.fromkeys(keys, str(error))
            continue
        pictures |= dict(zip(keys, draw_cases(exam, scheme, task=task).values(), strict=True))
    return pictures
