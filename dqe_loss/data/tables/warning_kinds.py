"""Kinds of warnings about rated segmentations, each with a name and a grade: what asks for a look, and what is told.

In a rated table a warning is its text with its kind, ``tumor touches the border of the volume [border]``, and warnings
are joined by ``"; "``. Tables of former versions have the text alone; its kind is known by its words.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd  # a command's help needs the names alone


@dataclass(frozen=True)
class WarningKind:
    """A kind of warning.

    Attributes:
        meaning: in a few words, for help and pages.
        review: whether it asks for a look before a segmentation is trusted: mask or stars may be wrong. What is usual
            in good data is only told.
        words: regular expression that finds it in a table of a former version.
    """

    meaning: str
    review: bool
    words: str


OTHER = "other"
"""Kind of a warning that is not of this package: somebody wrote it into the table for a reason."""

KINDS = {
    # Another template, as in BraTS 2024; the planes are padded to the field of view all the same.
    "grid": WarningKind("another grid than the task's, such as BraTS's", False, r"voxels, expected .* as in BraTS"),
    # The arrays agree as they lie; nothing that is rated depends on it.
    "header": WarningKind("a header that differs, though the arrays agree", False, r"^header "),
    # Stars are learned at 1 mm: a tumor of another scale is another tumor.
    "spacing": WarningKind(
        "voxels of another size than the task's, mostly 1 mm", True, r"^voxels of .* mm, expected 1 mm"
    ),
    # The mask may lie elsewhere than the tumor, a modality elsewhere than the others.
    "affine": WarningKind("an affine that differs", True, r"affine"),
    # A modality is missing, or files are mixed up.
    "same-image": WarningKind("one image given as two modalities", True, r"are the same image"),
    "named-as": WarningKind("a file named as another modality", True, r"is named as"),
    # Signs of a failed segmentation, some of which get high stars.
    "empty-region": WarningKind("an empty region", True, r"^empty region"),
    "border": WarningKind("segmentation at the border of the volume", True, r"touches the border"),
    "large": WarningKind(
        "segmentation as large as a third of the head, or as the task says", True, r"as large as .* of the head"
    ),
    OTHER: WarningKind("any other warning, written by hand", True, r""),
}
"""All kinds by name. The names are what ``--accept-warnings`` takes."""

REVIEW = tuple(name for name, kind in KINDS.items() if kind.review)
"""Names of the kinds that ask for a look."""

_NAMED = re.compile(rf"\[({'|'.join(KINDS)})\]$")


@dataclass(frozen=True)
class Finding:
    """A warning about an exam or a segmentation.

    Attributes:
        kind: a name of `KINDS`.
        text: what is odd, in a few words and without ``"; "``.
    """

    kind: str
    text: str

    def __str__(self) -> str:
        """As a table has it."""
        return f"{self.text} [{self.kind}]"


def kind_of(warning: str) -> str:
    """The kind of one warning of a table, with or without its name."""
    if named := _NAMED.search(warning):
        return named[1]
    return next(name for name, kind in KINDS.items() if re.search(kind.words, warning))


def to_review(warnings: "pd.Series", accepted: Collection[str] = ()) -> "pd.Series":
    """Of each row's warnings those that ask for a look.

    Args:
        warnings: column of a rated table.
        accepted: names of kinds that do not count.

    Returns:
        The remaining warnings, joined as before; empty where there is none.
    """
    counted = set(REVIEW) - set(accepted)
    texts = {text: [part for part in text.split("; ") if kind_of(part) in counted] for text in set(warnings) - {""}}
    return warnings.map(lambda text: "; ".join(texts.get(text, ())))


def check_kinds(names: Collection[str]) -> None:
    """Check names of kinds that a user gave.

    Raises:
        ValueError: if there is no such kind; with a list of those that there are.
    """
    if unknown := [name for name in names if name not in KINDS]:
        listed = ", ".join(f"{name} ({kind.meaning})" for name, kind in KINDS.items())
        raise ValueError(f"--accept-warnings {' '.join(unknown)}: expected names of warnings: {listed}; alone, all")


def describe_aside(accepted: Collection[str]) -> str:
    """Which warnings put a segmentation aside, in words; empty if none does."""
    if set(REVIEW) <= set(accepted):
        return ""
    return "a warning to review" + (f" (other than {', '.join(accepted)})" if accepted else "")
