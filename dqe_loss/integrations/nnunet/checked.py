"""A thing that a check has looked at."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Checked:
    """A thing that was looked at.

    Attributes:
        subject: what it is.
        text: what was found.
        fits: whether a training can start.
    """

    subject: str
    text: str
    fits: bool = True
