"""Find the exams of nnU-Net's folders: imagesTr with ``CASE_0000.nii.gz`` and so on, labelsTr with ``CASE``."""

import json
import warnings
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dqe_loss.data.discovery.cohort import NIFTI, FoundExam
from dqe_loss.data.file_names import written
from dqe_loss.data.nifti import ExamError
from dqe_loss.task import GLIOMA, Task
from dqe_loss.tasks.from_nnunet import identifier

_COUNTS = {1: "one", 2: "two", 3: "three", 4: "four"}
_PARTS = (("imagesTr", "labelsTr"), ("imagesTs", "labelsTs"))


def is_nnunet(folder: Path) -> bool:
    """Whether a folder is laid out as nnU-Net's raw data."""
    return any((folder / images).is_dir() for images, _ in _PARTS)


def numbers_channels(task: Task) -> bool:
    """Whether a task's files are those of nnU-Net, its modalities the channels 0, 1, ... in their order.

    Then `find_nnunet` finds those of imagesTs, too.
    """
    paths = task.files.images
    wanted = ({m: f"imagesTr/{{exam}}_{i:04}{end}" for i, m in enumerate(task.modalities)} for end in NIFTI)
    return bool(paths) and dict(paths) in wanted


def find_nnunet(folder: Path, channels: Sequence[str] = (), task: Task = GLIOMA) -> list[FoundExam]:
    """Find all exams of a raw data set of nnU-Net: of imagesTr, and of imagesTs if there is one.

    Args:
        folder: of the data set.
        channels: the modality of each channel. Default: what ``dataset.json`` says (``channel_names``, or ``modality``
            as version 1 called it); without one the task's (`FileNames.channels`).
        task: what an exam holds.

    Returns:
        The exams by name; the segmentation is named by its folder, such as ``labelsTr``. Where a label map is missing
        in a folder of labels that exists, the case has the path where it should be.

    Raises:
        ExamError: channels that are not one of each modality, a damaged ``dataset.json``, no images, or a case in both
            parts.
    """
    if channels:
        order = _check_channels(channels, "--channels", _option(task), task)
    else:
        order = _read_channels(folder / "dataset.json", task)
    cases: dict[str, FoundExam] = {}
    for images, labels in _PARTS:
        files: dict[str, dict[int, Path]] = defaultdict(dict)
        for path in sorted((folder / images).glob("*")):
            stem, number = _split_name(path.name)
            if number is not None and number < len(order) and not path.name.startswith("."):
                files[stem][number] = path
        for name, found in files.items():
            if name in cases:
                raise ExamError(f"{folder}: case {name} lies in imagesTr and imagesTs; rename one")
            cases[name] = _case(name, found, order, folder / images, folder / labels, task)
    if not cases:
        raise ExamError(f"{folder}: expected images such as imagesTr/case-7_0000.nii.gz, found none")
    return [cases[name] for name in sorted(cases)]


def leave_out_unlabeled(cases: Sequence[FoundExam], folder: Path) -> list[FoundExam]:
    """Those exams of a data set of nnU-Net's that have a segmentation: test images come without.

    Args:
        cases: what `find_nnunet` found.
        folder: of the data set.

    Returns:
        Those that have one, or should have one beside them.

    Warns:
        UserWarning: how many were left out.

    Raises:
        ExamError: if none has one.
    """
    labeled = [case for case in cases if case.masks]
    cure = "name the folder of their predictions with --predictions"
    if not labeled:
        raise ExamError(f"{folder}: none of its {len(cases)} exams has a segmentation; {cure}")
    if left := len(cases) - len(labeled):
        told = f"{left} of {len(cases)} exams have no segmentation, for their images lie in a folder without labels"
        warnings.warn(f"{told}: they are not rated; {cure}", stacklevel=2)
    return labeled


def _case(name: str, found: dict[int, Path], order: Sequence[str], images: Path, labels: Path, task: Task) -> FoundExam:
    masks = {}
    if labels.is_dir():
        candidates = [labels / f"{name}{ending}" for ending in NIFTI]
        masks[labels.name] = next((path for path in candidates if path.exists()), candidates[0])
    missing = [f"{name}_{number:04} ({order[number]})" for number in range(len(order)) if number not in found]
    if missing:
        count = _COUNTS.get(len(order), len(order))
        error = f"{images}: expected a file for each of {count} channels, lacks {', '.join(missing)}"
        return FoundExam(written(name), {}, masks, error)
    files = {order[number]: path for number, path in found.items()}
    return FoundExam(written(name), {name: files[name] for name in task.modalities}, masks, planar=task.planar)


def _split_name(name: str) -> tuple[str, int | None]:
    """``case-7_0002.nii.gz`` to ``("case-7", 2)``; no number where it is not such a name."""
    ending = next((ending for ending in NIFTI if name.endswith(ending)), None)
    stem, _, number = name.removesuffix(ending or "").rpartition("_")
    return (stem, int(number)) if ending and len(number) == 4 and number.isdecimal() else (name, None)


def _default_channels(task: Task) -> tuple[str, ...]:
    return task.files.channels or task.modalities


def _option(task: Task) -> str:
    return f"say the order with --channels, such as --channels {' '.join(_default_channels(task))}"


def channels_of(content: Any, where: str, cure: str, task: Task) -> tuple[str, ...]:
    """The modality of each channel, as a ``dataset.json`` says.

    Args:
        content: of the file.
        where: what errors call it.
        cure: what to do where it does not name each modality once.
        task: what is segmented.

    Raises:
        ExamError: if it does not.
    """
    try:
        named = content.get("channel_names", content.get("modality"))
        if named is None:
            return _default_channels(task)
        names = [named[str(number)] for number in range(len(named))]
    except (KeyError, TypeError, AttributeError) as error:
        raise ExamError(_unread(where, error, cure, task)) from error
    return _check_channels(names, where, cure, task)


def _unread(where: str, error: Exception, cure: str, task: Task) -> str:
    keys = ", ".join(map(str, range(len(task.modalities))))
    return f"{where}: expected channel_names with the keys {keys}, could not read them ({error!r}); {cure}"


def _read_channels(path: Path, task: Task) -> tuple[str, ...]:
    if not path.is_file():
        return _default_channels(task)
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, OSError) as error:
        raise ExamError(_unread(str(path), error, _option(task), task)) from error
    return channels_of(content, str(path), _option(task), task)


def _check_channels(names: Sequence[str], where: str, cure: str, task: Task) -> tuple[str, ...]:
    words = {ending: modality for modality in task.modalities for ending in (modality.lower(), *task.endings(modality))}
    words |= {word.lower(): modality for word, modality in task.files.words.items()}
    if task.files == GLIOMA.files:  # whose words are all known, and a sign beside one means another scan
        known = tuple(words.get(str(name).lower(), "") for name in names)
    else:  # as `dqe_loss.tasks.from_nnunet` names them; several of one name are told apart by their number
        called = {identifier(word): modality for word, modality in words.items()}
        plain = [identifier(str(name)) for name in names]
        known = tuple(called.get(name) or called.get(f"{name}_{i}", "") for i, name in enumerate(plain))
    if len(names) == len(task.modalities) == 1:  # what else should it be
        return task.modalities
    if sorted(known) != sorted(task.modalities):
        raise ExamError(
            f"{where}: expected channels that are each of {', '.join(task.modalities)} once, found "
            f"{', '.join(map(str, names))}; {cure}"
        )
    return known
