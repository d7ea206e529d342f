"""Find the exams of a data set, whichever way it is stored: the one rule of all commands that take ``--data``."""

from collections.abc import Sequence
from pathlib import Path

from dqe_loss.data.discovery.cohort import FoundExam, find_tree, with_predictions
from dqe_loss.data.discovery.named_exams import find_by_pattern, fits_pattern
from dqe_loss.data.discovery.nnunet import find_nnunet, is_nnunet, numbers_channels
from dqe_loss.data.discovery.nnunet_labels import settle_scheme
from dqe_loss.data.discovery.path_table import find_in_table
from dqe_loss.task import GLIOMA, Task


def find_data_set(
    data: Path,
    label_scheme: str | None,
    predictions: Sequence[Path] = (),
    channels: Sequence[str] = (),
    task: Task = GLIOMA,
) -> list[FoundExam]:
    """Find the exams of a data set, in the order of names.

    Args:
        data: a tree of exams, a data set whose files are where its task says, a data set of nnU-Net, or a table of
            paths.
        label_scheme: of the label maps; the task's default if None.
        predictions: folders with segmentations to take instead of the exams' own.
        channels: modalities of nnU-Net's channels, if ``dataset.json`` does not say.
        task: what is segmented; says how files are named.

    Raises:
        ValueError: if there are none, or nnU-Net's labels could be of either order, or are of another than said.
    """
    nnunet = is_nnunet(data)
    if nnunet and (scheme := settle_scheme(data, label_scheme, task)) != task.scheme(label_scheme).name:
        raise ValueError(f"{data}: its dataset.json describes labels as in {scheme}; say --label-scheme {scheme}")
    if data.suffix.lower() in (".csv", ".parquet"):
        cases = find_in_table(data, task)
    elif nnunet and numbers_channels(task):
        cases = find_nnunet(data, channels or task.modalities, task)
    # What the task says comes first: the Medical Segmentation Decathlon, too, has a folder imagesTr.
    elif task.files.images and (not nnunet or fits_pattern(data, task)):
        cases = find_by_pattern(data, task)
    elif nnunet:
        cases = find_nnunet(data, channels, task)
    else:
        cases = find_tree(data, task)
    return with_predictions(cases, predictions, some=nnunet) if predictions else cases
