"""Label schemes of brain-tumor data sets: which integer of a label map is which tissue, and which scheme fits a map."""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from dqe_loss.core.dtypes import as_signed


@dataclass(frozen=True)
class LabelScheme:
    """Which integers of a label map stand for which tissue; a tissue may have several.

    Attributes:
        necrosis: labels of necrotic, cystic and other non-enhancing tumor core (NCR, NET, CC).
        edema: labels of peritumoral edema (ED, SNFH).
        enhancing: labels of enhancing tumor (ET).
        cavity: labels that are in no region: a resection cavity (RC).
        either: whether a map may hold only one of the labels of enhancing tumor.
    """

    necrosis: tuple[int, ...]
    edema: tuple[int, ...]
    enhancing: tuple[int, ...]
    cavity: tuple[int, ...] = ()
    either: bool = False

    @property
    def values(self) -> tuple[int, ...]:
        """Every label the scheme allows in ascending order, background included."""
        return (0, *sorted((*self.necrosis, *self.edema, *self.enhancing, *self.cavity)))

    @property
    def channels(self) -> tuple[str, ...]:
        """Order of tissue channels behind the background: by the lowest label of each."""
        lowest = {min(self.necrosis): "necrosis", min(self.edema): "edema", min(self.enhancing): "enhancing"}
        return tuple(lowest[label] for label in sorted(lowest))

    def region(self, name: str) -> tuple[int, ...]:
        """The labels of a region of `REGIONS`."""
        core = () if name == "ET" else self.necrosis
        return (*self.enhancing, *core, *(self.edema if name == "WT" else ()))

    def __str__(self) -> str:
        """What a user needs to recognize it: ``1 necrosis, 2 edema, 3 or 4 enhancing``."""
        word = " or " if self.either else " and "
        parts = [f"{' and '.join(map(str, self.necrosis))} necrosis", f"{' and '.join(map(str, self.edema))} edema"]
        parts.append(f"{word.join(map(str, self.enhancing))} enhancing")
        return ", ".join(parts + [f"{label} cavity (in no region)" for label in self.cavity])


LABEL_SCHEMES = {
    "brats": LabelScheme(necrosis=(1,), edema=(2,), enhancing=(3, 4), either=True),
    "brats23": LabelScheme(necrosis=(1,), edema=(2,), enhancing=(3,)),
    "brats21": LabelScheme(necrosis=(1,), edema=(2,), enhancing=(4,)),
    "brats24": LabelScheme(necrosis=(1,), edema=(2,), enhancing=(3,), cavity=(4,)),
    "brats-peds": LabelScheme(necrosis=(2, 3), edema=(4,), enhancing=(1,)),
    "msd": LabelScheme(necrosis=(2,), edema=(1,), enhancing=(3,)),
    "nnunet": LabelScheme(necrosis=(2,), edema=(1,), enhancing=(3,)),
}
"""Label schemes by name.

``brats23`` is BraTS 2023 and later (its pediatric exams of 2023, too), ``brats21`` BraTS 2017 to 2021, ``brats`` either
of the two (as the published surrogate's package reads them), ``brats24`` gliomas after treatment in BraTS 2024, with a
resection cavity, ``brats-peds`` pediatric tumors from BraTS-PEDs 2024 on, ``msd`` Task01_BrainTumour of the Medical
Segmentation Decathlon, ``nnunet`` the consecutive labels that nnU-Net's own BraTS conversion writes.
"""

if TYPE_CHECKING:
    SchemeName = str
else:
    SchemeName = Literal[tuple(LABEL_SCHEMES)]  # the choices of a command's option


def label_scheme(name: str) -> LabelScheme:
    """CenterNames a scheme up by name.

    Raises:
        ValueError: if there is no scheme of that name.
    """
    if name not in LABEL_SCHEMES:
        raise ValueError(f"unknown label scheme {name!r}; expected one of {', '.join(LABEL_SCHEMES)}")
    return LABEL_SCHEMES[name]


def describe_schemes() -> str:
    """All schemes with their labels, in words."""
    return "; ".join(f"{name}: {scheme}" for name, scheme in LABEL_SCHEMES.items())


MEANINGS_OF_4 = (
    "in BraTS 2024 after treatment 4 is the resection cavity (brats24), in BraTS-PEDs 2024 edema (brats-peds), up to "
    "BraTS 2021 enhancing tumor (brats21); where there is no 4, brats23"
)
"""What to say instead of ``brats`` where 3 and 4 occur together."""


def check_labels(labels: Tensor, scheme: str = "brats") -> None:
    """Check that a label map holds nothing but the scheme's labels.

    Args:
        labels: label map of any shape and real dtype; a batch ``(B, 1, X, Y, Z)`` is checked exam by exam.
        scheme: name of the label scheme.

    Raises:
        ValueError: if a value is not a label of the scheme, or if the map holds two labels for enhancing tumor of a
            scheme that allows either.

    Warns:
        UserWarning: one exam of a batch has one label for enhancing tumor, another exam the other.
    """
    known, labels = label_scheme(scheme), as_signed(labels)
    largest = max(known.values)
    fractional = labels.is_floating_point() and bool((labels != labels.round()).any())  # true of NaN, too
    low, high = (0, 0) if fractional else (bound.item() for bound in labels.aminmax())
    # One pass says most: only the scheme's gaps and its second enhancing label need another look.
    between = [value for value in range(1, int(min(high, largest)) + 1) if value not in known.values]
    if fractional or low < 0 or high > largest or any(bool((labels == value).any()) for value in between):
        present = torch.unique(labels).tolist()
        raise ValueError(
            f"label scheme {scheme!r} has the labels {', '.join(map(str, known.values))}, but the label map also "
            f"holds {[value for value in present if value not in known.values][:5]}; {_advice(set(present), scheme)}"
        )
    if not known.either or high < max(known.enhancing):
        return
    exams = labels.flatten(1) if labels.ndim == 5 else labels.flatten()[None]
    first, second = ((exams == value).any(1) for value in known.enhancing)
    if (first & second).any():
        raise ValueError(
            f"the label map holds both {' and '.join(map(str, known.enhancing))}, and {scheme!r} takes either as "
            f"enhancing tumor, not both; {_advice(set(known.values), scheme)}"
        )
    if first.any() and second.any():
        # The same words each time: Python shows a warning once.
        warnings.warn(
            f"one exam of a batch holds 3, another 4, and label_scheme={scheme!r} takes both as enhancing tumor: right "
            f"for exams of BraTS 2021 beside such of 2023, else not: {MEANINGS_OF_4}",
            stacklevel=2,
        )


def _advice(present: set[float], given: str) -> str:
    """Which schemes fit the values that occur, those that give another tissue to a label apart; or what each takes."""
    ignored = "voxels to ignore, such as nnU-Net's last label or 255, count as background: set them to 0"
    fitting = {
        name: scheme
        for name, scheme in LABEL_SCHEMES.items()
        if present <= set(scheme.values) and not (scheme.either and present >= set(scheme.enhancing))
    }
    if not fitting:
        return f"they fit no scheme of this library ({describe_schemes()}); {ignored}"
    alike = [f"{n} ({scheme})" for n, scheme in fitting.items() if _agree(scheme, LABEL_SCHEMES[given])]
    unlike = [f"{n} ({scheme})" for n, scheme in fitting.items() if not _agree(scheme, LABEL_SCHEMES[given])]
    told = [f"the values fit {', '.join(alike)}"] if alike else []
    if unlike:
        told.append(f"{'or, ' if alike else 'the values fit, '}with other tissues than in {given}, {', '.join(unlike)}")
    return "; ".join([*told, ignored])


def _agree(one: LabelScheme, other: LabelScheme) -> bool:
    """Whether each label that two schemes share is the same tissue in both."""
    tissues = ("necrosis", "edema", "enhancing", "cavity")
    return not any(
        set(getattr(one, name)) & set(getattr(other, another))
        for name in tissues
        for another in tissues
        if name != another
    )
