"""A task from nnU-Net's ``dataset.json``: what it tells of modalities, labels and regions, to be completed by hand."""

import json
import re
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from dqe_loss.tasks.definition import VIEWS, Task
from dqe_loss.tasks.nnunet_layout import read_layout
from dqe_loss.tasks.problems import NO_NAMES
from dqe_loss.tasks.reading import task_from_dict

WHOLE = "foreground"
"""Name of the region that holds all labels, where there are several: planes go through its center."""

RESERVED = frozenset((*NO_NAMES, *VIEWS))
"""Words that a modality, tissue or region cannot be called."""

_CT_WINDOW = (-160.0, 240.0)
"""Soft tissue, in Hounsfield units; where a channel is called CT."""


def task_from_nnunet(path: str | Path, name: str | None = None) -> Task:
    """Read a task from a ``dataset.json``; `convert_nnunet` also says what to look at.

    Raises:
        ValueError: see `convert_nnunet`.
    """
    return convert_nnunet(path, name)[0]


def convert_nnunet(path: str | Path, name: str | None = None) -> tuple[Task, list[str]]:
    """Read a task from a ``dataset.json``, and field of view and spacing from the images that lie beside it.

    Args:
        path: the file, of nnU-Net's version 1 (``modality``, labels by number) or 2 (``channel_names``, labels by name;
            a list of numbers makes a region of several labels).
        name: what to call the task; the folder's name, without ``DatasetXXX_`` or ``TaskXX_``, if None.

    Returns:
        The task, and what to know of it, a sentence each: what was renamed, and what is not known and must be said in
        the task's own file.

    Raises:
        ValueError: if the file is not there, or does not describe channels and labels, or two labels have one name but
            for signs and capitals.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_bytes())
        channels = content.get("channel_names", content.get("modality"))
        words = [str(channels[str(number)]) for number in range(len(channels))]
        labels = named_labels(content["labels"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: expected nnU-Net's dataset.json with channel_names and labels, could not read them ({error!r})"
        ) from error
    if not labels:
        raise ValueError(f"{path}: names no label but background; a task needs one at least")
    try:
        names = identifiers(labels)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    plain = [identifier(word) for word in words]
    modalities = [f"{m}_{i}" for i, m in enumerate(plain)] if len(set(plain)) < len(plain) else plain
    free = {m: f"{m}_scan" if m in RESERVED else m for m in modalities}
    names = {word: f"{one}_label" if one in RESERVED else one for word, one in names.items()}
    renamed = {free[m]: word for m, word in zip(modalities, words, strict=True) if free[m] != m}
    files: dict[str, Any] = {"words": {word: name for name, word in renamed.items()}} if renamed else {}
    renamed |= {one: word for word, one in names.items() if one == f"{identifier(word)}_label"}
    notes = [
        f"{word} has a meaning of its own here, and is called {one} (titles keep the word)"
        for one, word in renamed.items()
    ]
    modalities = list(free.values())
    layout, sizes, more = read_layout(path.parent, modalities, str(content.get("file_ending", ".nii.gz")))
    values: dict[str, Any] = {
        "name": name or re.sub(r"^(Dataset|Task)\d+_", "", path.resolve().parent.name).lower(),
        "modalities": modalities,
        **_tissues_and_regions(labels, names),
        **sizes,
        **({"titles": renamed} if renamed else {}),
        "files": files | layout,
    }
    if plain == ["ct"]:
        values["window"] = list(_CT_WINDOW)
    return task_from_dict(values), notes + more


def named_labels(labels: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Name to numbers of each label, whichever version wrote them; background, and voxels to ignore, are left out."""
    found: dict[str, tuple[int, ...]] = {}
    for key, value in labels.items():
        name, numbers = (str(value), int(key)) if str(key).isdecimal() else (str(key), value)
        listed = numbers_of(numbers)
        if listed != (0,) and name.lower() != "ignore":
            found[name] = found.get(name, ()) + listed  # in version 1 two labels may have one name
    return found


def numbers_of(label: Any) -> tuple[int, ...]:
    """Numbers of a label of version 2: one, or those of a region."""
    return tuple(int(number) for number in (label if isinstance(label, list | tuple) else [label]))


def _tissues_and_regions(labels: Mapping[str, tuple[int, ...]], names: Mapping[str, str]) -> dict[str, Any]:
    """Labels by tissue, and regions: those of the file, and all of it together where there are several."""
    regions = {names[name]: numbers for name, numbers in labels.items()}
    alone = {numbers[0]: name for name, numbers in regions.items() if len(numbers) == 1}
    numbers = sorted(set(chain.from_iterable(regions.values())))
    tissue = {number: alone.get(number, f"label_{number}") for number in numbers}
    parts = {name: [tissue[number] for number in own] for name, own in regions.items()}
    if not any(set(own) == set(tissue.values()) for own in parts.values()):
        parts = {WHOLE if WHOLE not in parts else f"all_{WHOLE}": list(tissue.values()), **parts}
    return {"labels": {name: number for number, name in tissue.items()}, "regions": parts}


def identifier(name: str) -> str:
    """A name as tables and options take it: small letters of any alphabet, digits and underscores."""
    return re.sub(r"[\W_]+", "_", name.lower()).strip("_") or "unnamed"


def identifiers(names: Iterable[str]) -> dict[str, str]:
    """Each name's `identifier`.

    Raises:
        ValueError: if two names have one.
    """
    found: dict[str, str] = {}
    for name in names:
        if same := next((other for other, known in found.items() if known == identifier(name)), None):
            raise ValueError(f"{same!r} and {name!r} are both {identifier(name)} in tables and options; rename one")
        found[name] = identifier(name)
    return found
