"""Find the exams of a data set, whichever way it is stored: the one rule of all commands that take ``--data``."""

from collections.abc import Sequence
from pathlib import Path

from dqe_loss.data.discovery.cohort import FoundExam, find_tree, with_predictions
from dqe_loss.data.discovery.nnunet import find_nnunet, is_nnunet
from dqe_loss.data.discovery.nnunet_labels import settle_scheme
from dqe_loss.data.discovery.path_table import find_in_table


def find_data_set(
    data: Path, label_scheme: str, predictions: Sequence[Path] = (), channels: Sequence[str] = ()
) -> list[FoundExam]:
    """Find the exams of a data set, in the order of names.

    Args:
        data: a tree of exams, a data set of nnU-Net, or a table of paths.
        label_scheme: of the label maps.
        predictions: folders with segmentations to take instead of the exams' own.
        channels: modalities of nnU-Net's channels, if ``dataset.json`` does not say.

    Raises:
        ValueError: if there are none, or nnU-Net's labels could be of either order, or are of another than said.
    """
    nnunet = False
    if data.suffix.lower() in (".csv", ".parquet"):
        cases = find_in_table(data)
    elif nnunet := is_nnunet(data):
        if (scheme := settle_scheme(data, label_scheme)) != label_scheme:
            raise ValueError(f"{data}: its dataset.json describes labels as in {scheme}; say --label-scheme {scheme}")
        cases = find_nnunet(data, channels)
    else:
        cases = find_tree(data)
    return with_predictions(cases, predictions, some=nnunet) if predictions else cases
