"""Whether the split into folds that nnU-Net will train by is there, or can be made."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from dqe_loss.integrations.nnunet.checked import Checked

FOLDS = 5
"""That nnU-Net makes where there is no file; it needs as many cases."""
FILE = "splits_final.json"
ALL = "all"
_PARTS = ("train", "val")
_SHOWN = 3


def check_split(folder: Path, cases: Sequence[str], fold: str) -> Checked:
    """Look at the split into training and validation cases.

    Args:
        folder: preprocessed data set, where nnU-Net looks for the file, and else writes one.
        cases: all that are preprocessed.
        fold: number of the fold that is to be trained, or ``all``.

    Returns:
        How many cases the fold has, or why nnU-Net would stop, at the start or when it draws a case that is not there.

    Raises:
        ValueError: if the fold is neither.
    """
    if fold != ALL and not fold.isdecimal():
        raise ValueError(f"--fold must be a number or {ALL}, got {fold}")
    if fold == ALL:
        return Checked("split", f"fold {ALL}: {len(cases)} cases are trained with, and validated on, too")
    path = folder / FILE
    if path.is_file():
        try:
            folds = json.loads(path.read_bytes())
            count = len(folds)
            parts = {part: [*map(str, folds[int(fold)][part])] for part in _PARTS} if int(fold) < count else {}
        except (ValueError, TypeError, KeyError) as error:
            told = f"{path}: expected a list of folds with the keys train and val, could not read it ({error!r})"
            return Checked("split", f"{told}; correct it, or delete it and let nnU-Net make another", False)
        if parts:
            return _look_at(parts, path, cases, fold)
    elif len(cases) < FOLDS:
        example = json.dumps([{"train": list(cases[:-1]), "val": list(cases[-1:])}])
        told = f"nnU-Net makes {FOLDS} folds, for which {len(cases)} cases are too few, and stops: train the fold {ALL}"
        own = f", or write {path} yourself, such as {example}" if len(cases) > 1 else ""
        return Checked("split", told + own, False)
    else:
        count = FOLDS
        if int(fold) < count:
            return Checked("split", f"nnU-Net will make {FOLDS} folds of {len(cases)} cases")
    drawn = int(0.8 * len(cases))  # as nnU-Net does it
    told = f"there is no fold {fold} among {count}, so that nnU-Net draws {drawn} of {len(cases)} cases to train with"
    fits = 0 < drawn < len(cases)
    return Checked("split", told if fits else f"{told}; name a fold that is there, or {ALL}", fits)


def _look_at(parts: Mapping[str, Sequence[str]], path: Path, cases: Sequence[str], fold: str) -> Checked:
    for part, names in parts.items():
        if not names:
            return Checked("split", f"{path}: fold {fold} has no case in {part!r}; put one there", False)
    named = {*parts["train"], *parts["val"]}
    if absent := sorted(named - set(cases)):
        shown = ", ".join(absent[:_SHOWN]) + (f" and {len(absent) - _SHOWN} more" if len(absent) > _SHOWN else "")
        cure = "correct the file, or preprocess them"
        return Checked("split", f"{path}: fold {fold} names cases that are not preprocessed ({shown}); {cure}", False)
    told = f"fold {fold}: {len(parts['train'])} cases to train with, {len(parts['val'])} to validate on"
    if left := len(set(cases) - named):
        told += f"; {left} that are preprocessed are in neither (a split is kept when cases are added)"
    if both := len(set(parts["train"]) & set(parts["val"])):
        told += f"; {both} in both"
    return Checked("split", told)
