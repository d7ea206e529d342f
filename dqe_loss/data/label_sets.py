"""What a single label map cannot tell and a data set can: whether two labels are one tissue."""

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from dqe_loss.core.label_schemes import SchemeLike, label_scheme
from dqe_loss.data.exams import Exam

if TYPE_CHECKING:
    import pandas as pd  # not needed by commands that read no table

LABELS = "labels"
"""Column of a rated table: the labels that occur in the mask, such as ``1 2 4``; tables of former versions lack it."""

Result = TypeVar("Result")


class LabelSurvey:
    """Tells once, at the exam where it shows, that a data set mixes the labels of a scheme that takes either.

    An exam with one and another with the other may be of two years, or one of the labels is something else. An exam
    that has masks of both kinds says nothing: they may come from two algorithms.

    Args:
        scheme: that all exams are read under.
    """

    def __init__(self, scheme: SchemeLike) -> None:
        self._scheme = label_scheme(scheme)
        self._either = frozenset(self._scheme.alternatives)
        self._examples: dict[int, str] = {}

    def add(self, exam: str, labels: Iterable[int]) -> None:
        """Take note of an exam.

        Args:
            exam: its name.
            labels: that occur in its masks.

        Warns:
            UserWarning: this exam has another label for the tissue than one before, the first time that it is so.
        """
        found = self._either.intersection(labels)
        if len(found) != 1 or len(self._examples) > 1:
            return
        self._examples.setdefault(min(found), exam)
        if len(self._examples) > 1:
            self._tell(", ".join(f"{self._examples[label]} holds {label}" for label in sorted(self._examples)))

    def watch(self, rate: Callable[[Exam], Result]) -> Callable[[Exam], Result]:
        """A function of an exam that takes note of each first."""

        def noting(exam: Exam) -> Result:
            self.add(exam.name, {label for labels in exam.present.values() for label in labels})
            return rate(exam)

        return noting

    def add_table(self, table: "pd.DataFrame") -> None:
        """Take note of all exams of a rated table; nothing, if it lacks the column `LABELS`."""
        if not self._either or LABELS not in table:
            return
        exams: dict[str, set[int]] = defaultdict(set)
        for exam, text in zip(table["exam"], table[LABELS].astype(str), strict=True):
            exams[exam].update(int(label) for label in text.split() if label.isdecimal())
        for exam, labels in exams.items():
            self.add(exam, labels)

    def _tell(self, examples: str) -> None:
        warnings.warn(
            f"label scheme {self._scheme.name!r} takes {' and '.join(map(str, self._scheme.alternatives))} as "
            f"{self._scheme.either_title}, and this data set mixes them: {examples}. That is {self._scheme.note}; say "
            "it with --label-scheme where the masks are read",
            stacklevel=3,
        )
