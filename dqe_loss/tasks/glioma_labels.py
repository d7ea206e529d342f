"""What an nnU-Net data set's ``dataset.json`` says of its labels, held against the label schemes of gliomas.

Version 1 maps numbers to names, version 2 names to a number or, for training by regions, to a list of numbers. Names
are free text: what is not understood says nothing.
"""

import json
import re
from pathlib import Path
from typing import Any

from dqe_loss.tasks.definition import Task
from dqe_loss.tasks.from_nnunet import named_labels
from dqe_loss.tasks.glioma import GLIOMA
from dqe_loss.tasks.label_scheme import LabelScheme

LABEL_SCHEMES = GLIOMA.label_schemes

Tissues = dict[int, str]
"""Label to ``necrosis``, ``edema``, ``enhancing`` or ``cavity``."""

# In this order: "non-enhancing FLAIR hyperintensity" is edema, and "non-enhancing tumor core" no enhancing tumor.
_PATTERNS = {
    "cavity": r"cavity|resection|\brc\b",
    "edema": r"o?edem|hyperintens|\bed\b|\bsnfh\b",
    "necrosis": r"necro|cyst|non ?enh|\bncr\b|\bnetc?\b|\bnc\b|\bcc\b",
    "whole": r"whole|\bwt\b",
    "enhancing": r"enhanc|\bet\b",
    "core": r"\bcore\b|\btc\b",
}
_ALONE = ("cavity", "o?edem", "necro")
"""Words of which a name with two means more than one tissue."""


def has_glioma_labels(task: Task) -> bool:
    """Whether a task, whatever its name, has the regions and label schemes of gliomas, whose names are known here."""
    return task.parts == GLIOMA.parts and task.schemes == GLIOMA.schemes


def settle_scheme(folder: Path, said: str) -> str:
    """The label scheme of a data set of nnU-Net.

    Args:
        folder: of the data set.
        said: the scheme that was asked for; ``brats``, the default, counts as nothing said.

    Returns:
        What was said; if nothing was, what ``dataset.json`` describes.

    Raises:
        ValueError: the file contradicts what was said, or nothing was said and the file does not tell it.
    """
    path = folder / "dataset.json"
    tissues = read_tissues(path)
    described = described_scheme(tissues)
    if said == "brats":
        if described is None:
            raise ValueError(
                f"{folder}: nnU-Net's folders hold labels of either order, and the wrong one would go unseen; say "
                "--label-scheme nnunet (1 edema, 2 necrosis, 3 enhancing, as its BraTS conversion writes) or another "
                f"of {', '.join(name for name in LABEL_SCHEMES if name != said)}, for dataset.json does not tell"
            )
        return described
    if _agrees(tissues, LABEL_SCHEMES[said]):
        return said
    labels = ", ".join(f"{label} {tissue}" for label, tissue in sorted(tissues.items()))
    fitting = described or " or ".join(
        name for name, scheme in LABEL_SCHEMES.items() if not scheme.either and _agrees(tissues, scheme)
    )
    cure = f"say --label-scheme {fitting}" if fitting else "no scheme has these; map the labels to those of one first"
    raise ValueError(
        f"{path}: describes the labels {labels}, but --label-scheme {said} has {LABEL_SCHEMES[said]}; {cure}, or "
        "correct the file"
    )


def read_tissues(path: Path) -> Tissues:
    """What a ``dataset.json`` says of its labels; nothing where there is none, or it is not understood."""
    try:
        return tissues_of(json.loads(path.read_text())["labels"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def tissues_of(labels: Any) -> Tissues:
    """What the ``labels`` of a ``dataset.json`` say; nothing where they are not understood."""
    try:
        named = named_labels(labels)
    except (ValueError, TypeError, AttributeError):
        return {}
    found: dict[str, set[int]] = {}
    for name, numbers in named.items():
        if kind := kind_of(name):
            found.setdefault(kind, set()).update(numbers)
    alone = all(len(numbers) == 1 for numbers in named.values())
    if alone and set(found) - {"cavity"} == {"edema", "core", "enhancing"}:
        found["necrosis"] = found.pop("core")  # labels exclude each other: what is left of the core
    core, whole, enhancing = (found.get(name, set()) for name in ("core", "whole", "enhancing"))
    if core and enhancing < core:
        found.setdefault("necrosis", set()).update(core - enhancing)
    if whole and core < whole:
        found.setdefault("edema", set()).update(whole - core)
    tissues = [(label, name) for name in ("necrosis", "edema", "enhancing", "cavity") for label in found.get(name, ())]
    # A label of two tissues, or regions that do not lie in one another: not understood.
    nested = not (whole or core) or enhancing < core < whole or (not whole and enhancing < core)
    return dict(tissues) if nested and len(dict(tissues)) == len(tissues) else {}


def kind_of(name: str) -> str | None:
    """The tissue or region that a name means, if it is one: a key of `Tissues`, ``whole``, ``core``."""
    text = " ".join(re.sub(r"[^a-z]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()).split())
    if sum(bool(re.search(word, text)) for word in _ALONE) > 1:
        return None
    return next((kind for kind, pattern in _PATTERNS.items() if re.search(pattern, text)), None)


def described_scheme(tissues: Tissues) -> str | None:
    """The scheme that the file tells clearly: with all three tissues, and no label more than need be."""
    if not {"necrosis", "edema", "enhancing"} <= set(tissues.values()):
        return None
    fitting = [n for n, scheme in LABEL_SCHEMES.items() if not scheme.either and _agrees(tissues, scheme)]
    # msd and nnunet are the same labels: of equals, the last.
    return min(reversed(fitting), key=lambda name: len(LABEL_SCHEMES[name].values), default=None)


def _agrees(tissues: Tissues, scheme: LabelScheme) -> bool:
    """Whether a scheme has each label as the tissue that the file names."""
    return all(label in scheme.labels.get(tissue, ()) for label, tissue in tissues.items())
