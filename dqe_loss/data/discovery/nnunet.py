"""Find the exams of nnU-Net's folders: imagesTr with ``CASE_0000.nii.gz`` to ``CASE_0003``, labelsTr with ``CASE``."""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dqe_loss.data.discovery.cohort import NIFTI, FoundExam
from dqe_loss.data.exam_files import MODALITY_TOKENS
from dqe_loss.data.file_names import written
from dqe_loss.data.nifti import ExamError
from dqe_loss.task import MODALITIES

BRATS_CHANNELS = ("t1", "t1c", "t2", "flair")
"""Channels of nnU-Net's own conversions of BraTS (Dataset137_BraTS21.py: T1, T1ce, T2, Flair)."""

# Beside BraTS's own tokens those of the Medical Segmentation Decathlon's dataset.json ("T1w", "t1gd", "FLAIR").
_CHANNELS = {token: modality for modality, tokens in MODALITY_TOKENS.items() for token in tokens} | {"t1w": "t1"}
_OPTION = f"say the order with --channels, such as --channels {' '.join(BRATS_CHANNELS)}"
_PARTS = (("imagesTr", "labelsTr"), ("imagesTs", "labelsTs"))


def is_nnunet(folder: Path) -> bool:
    """Whether a folder is laid out as nnU-Net's raw data."""
    return any((folder / images).is_dir() for images, _ in _PARTS)


def find_nnunet(folder: Path, channels: Sequence[str] = ()) -> list[FoundExam]:
    """Find all exams of a raw data set of nnU-Net: of imagesTr, and of imagesTs if there is one.

    Args:
        folder: of the data set.
        channels: the modality of each channel. Default: what ``dataset.json`` says (``channel_names``, or ``modality``
            as version 1 called it); without one `BRATS_CHANNELS`.

    Returns:
        The exams by name; the segmentation is named by its folder, such as ``labelsTr``. Where a label map is missing
        in a folder of labels that exists, the case has the path where it should be.

    Raises:
        ExamError: channels that are not one of each modality, a damaged ``dataset.json``, no images, or a case in both
            parts.
    """
    order = _check_channels(channels, "--channels", _OPTION) if channels else _read_channels(folder / "dataset.json")
    cases: dict[str, FoundExam] = {}
    for images, labels in _PARTS:
        files: dict[str, dict[int, Path]] = defaultdict(dict)
        for path in sorted((folder / images).glob("*")):
            stem, number = _split_name(path.name)
            if number is not None and number < len(order):
                files[stem][number] = path
        for name, found in files.items():
            if name in cases:
                raise ExamError(f"{folder}: case {name} lies in imagesTr and imagesTs; rename one")
            cases[name] = _case(name, found, order, folder / images, folder / labels)
    if not cases:
        raise ExamError(f"{folder}: expected images such as imagesTr/case-7_0000.nii.gz, found none")
    return [cases[name] for name in sorted(cases)]


def _case(name: str, found: dict[int, Path], order: Sequence[str], images: Path, labels: Path) -> FoundExam:
    masks = {}
    if labels.is_dir():
        candidates = [labels / f"{name}{ending}" for ending in NIFTI]
        masks[labels.name] = next((path for path in candidates if path.exists()), candidates[0])
    missing = [f"{name}_{number:04} ({order[number]})" for number in range(len(order)) if number not in found]
    if missing:
        error = f"{images}: expected a file for each of four channels, lacks {', '.join(missing)}"
        return FoundExam(written(name), {}, masks, error)
    files = {order[number]: path for number, path in found.items()}
    return FoundExam(written(name), {modality: files[modality] for modality in MODALITIES}, masks)


def _split_name(name: str) -> tuple[str, int | None]:
    """``case-7_0002.nii.gz`` to ``("case-7", 2)``; no number where it is not such a name."""
    ending = next((ending for ending in NIFTI if name.endswith(ending)), None)
    stem, _, number = name.removesuffix(ending or "").rpartition("_")
    return (stem, int(number)) if ending and len(number) == 4 and number.isdecimal() else (name, None)


def channels_of(content: Any, where: str, cure: str) -> tuple[str, ...]:
    """The modality of each channel, as a ``dataset.json`` says.

    Args:
        content: of the file.
        where: what errors call it.
        cure: what to do where it does not name each modality once.

    Raises:
        ExamError: if it does not.
    """
    try:
        named = content.get("channel_names", content.get("modality"))
        if named is None:
            return BRATS_CHANNELS
        names = [named[str(number)] for number in range(len(named))]
    except (KeyError, TypeError, AttributeError) as error:
        raise ExamError(
            f"{where}: expected channel_names with the keys 0, 1, 2, 3, could not read them ({error!r}); {cure}"
        ) from error
    return _check_channels(names, where, cure)


def _read_channels(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return BRATS_CHANNELS
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, OSError) as error:
        raise ExamError(
            f"{path}: expected channel_names with the keys 0, 1, 2, 3, could not read them ({error!r}); {_OPTION}"
        ) from error
    return channels_of(content, str(path), _OPTION)


def _check_channels(names: Sequence[str], where: str, cure: str) -> tuple[str, ...]:
    known = tuple(_CHANNELS.get(str(name).lower(), "") for name in names)
    if sorted(known) != sorted(MODALITIES):
        raise ExamError(
            f"{where}: expected channels that are each of {', '.join(MODALITIES)} once, found "
            f"{', '.join(map(str, names))}; {cure}"
        )
    return known
