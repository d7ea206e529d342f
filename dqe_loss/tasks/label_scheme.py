"""A label scheme: which integers of a label map are which tissue, and so which region."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

Coefficients = dict[str, int]
"""Region to how often it counts in a sum."""


@dataclass(frozen=True, eq=False)  # torch.compile hashes what it meets: by identity, for a mapping has no hash
class LabelScheme:
    """Which integers of a label map stand for which tissue; a tissue may have several. Made by a task.

    Attributes:
        name: its name among the task's schemes.
        labels: labels of each of the task's tissues, and of what is in no region (such as a resection cavity).
        tissues: the task's tissues, in their order.
        parts: the tissues of each region, in the task's order of regions.
        either: a tissue of whose labels a map may hold only one; empty if there is none.
        either_title: that tissue for readers.
        note: what to say where one map holds one of these labels, and another one another.
        family: all schemes of the task by name, this one among them.
    """

    name: str
    labels: Mapping[str, tuple[int, ...]]
    tissues: tuple[str, ...]
    parts: Mapping[str, tuple[str, ...]]
    either: str = ""
    either_title: str = ""
    note: str = ""
    family: Mapping[str, "LabelScheme"] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Work out now what compiled code asks for: it must not do so in every step, and cannot keep what it has."""
        _ = self.regions, self.channels, self.outside, self.sums

    @cached_property
    def regions(self) -> tuple[str, ...]:
        """The task's regions, in their order."""
        return tuple(self.parts)

    @cached_property
    def nesting(self) -> tuple[tuple[str, str], ...]:
        """Pairs of a region and the smallest that holds it, the innermost first."""
        pairs = []
        for name in sorted(self.regions, key=lambda region: len(self.parts[region])):
            holding = [r for r in self.regions if set(self.parts[name]) < set(self.parts[r])]
            if holding:
                pairs.append((name, min(holding, key=lambda region: len(self.parts[region]))))
        return tuple(pairs)

    @cached_property
    def values(self) -> tuple[int, ...]:
        """Every label the scheme allows in ascending order, background included."""
        return (0, *sorted(label for labels in self.labels.values() for label in labels))

    @cached_property
    def channels(self) -> tuple[str, ...]:
        """Order of tissue channels behind the background: by the lowest label of each."""
        return tuple(sorted(self.tissues, key=lambda tissue: min(self.labels[tissue])))

    @cached_property
    def outside(self) -> tuple[int, ...]:
        """Labels that are in no region."""
        return tuple(label for name, labels in self.labels.items() if name not in self.tissues for label in labels)

    @cached_property
    def alternatives(self) -> tuple[int, ...]:
        """Labels of which a map may hold only one; none for most schemes."""
        return self.labels[self.either] if self.either else ()

    @cached_property
    def sums(self) -> Mapping[str, Coefficients]:
        """Each tissue as a sum of regions, as far as the regions tell it (`tissues_by_regions`)."""
        return tissues_by_regions(self.parts)

    def region(self, name: str) -> tuple[int, ...]:
        """The labels of a region."""
        return tuple(label for tissue in self.parts[name] for label in self.labels[tissue])

    def __str__(self) -> str:
        """What a user needs to recognize it: ``1 anterior, 2 or 3 posterior, 9 cyst (in no region)``."""
        told = []
        for name in (*self.tissues, *(name for name in self.labels if name not in self.tissues)):
            word = " or " if name == self.either else " and "
            inside = "" if name in self.tissues else " (in no region)"
            told.append(f"{word.join(map(str, self.labels[name]))} {name}{inside}")
        return ", ".join(told)


def tissues_by_regions(parts: Mapping[str, tuple[str, ...]]) -> dict[str, Coefficients]:
    """Each tissue as a sum of regions, as far as the regions tell it.

    Args:
        parts: the tissues of each region.

    Returns:
        Tissue to regions with their signs; a tissue that no sum of regions gives is left out.

    Example:
        >>> tissues_by_regions({"inner": ("core",), "outer": ("core", "rim")})
        {'core': {'inner': 1}, 'rim': {'outer': 1, 'inner': -1}}
    """
    found: dict[str, Coefficients] = {}
    for _ in parts:
        for region, tissues in parts.items():
            unknown = [tissue for tissue in tissues if tissue not in found]
            if len(unknown) != 1:
                continue
            total: Coefficients = {region: 1}
            for tissue in tissues:
                for name, count in found.get(tissue, {}).items():
                    total[name] = total.get(name, 0) - count
            found[unknown[0]] = {name: count for name, count in total.items() if count}
    return found
