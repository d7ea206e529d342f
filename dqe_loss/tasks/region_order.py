"""Which regions lie in others, and the order in which canonical labels are painted of them.

Here ``parts`` are the tissues of each region, in the task's order of regions.
"""

from collections.abc import Mapping

Parts = Mapping[str, tuple[str, ...]]


def outermost(parts: Parts) -> tuple[str, ...]:
    """The regions that lie in no other."""
    sets = {name: set(tissues) for name, tissues in parts.items()}
    return tuple(name for name, own in sets.items() if not any(own < other for other in sets.values()))


def painting_of(parts: Parts, tissues: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """Regions from the largest to the smallest, and the canonical label that each is painted with."""
    painted = []
    for name in sorted(parts, key=lambda region: -len(parts[region])):
        own = [tissue for tissue in tissues if _regions_of(tissue, parts) == _around(name, parts)]
        painted.append((name, 1 + tissues.index(own[0] if own else parts[name][0])))
    return tuple(painted)


def layers_of(parts: Parts, tissues: tuple[str, ...]) -> tuple[tuple[tuple[str, ...], int], ...]:
    """What makes canonical labels of regions, in order: regions, and the label of where all of them are.

    These are the regions of `painting_of`, and where regions overlap in part, what they have in common: of regions
    ``a and b`` and ``b and c``, the tissue ``b``. Nested regions have nothing to add. Of tissues that are in the
    same regions, the first stands for all.
    """
    layers: list[tuple[tuple[str, ...], int]] = [((name,), label) for name, label in painting_of(parts, tissues)]
    told = {_around(name, parts) for name in parts}
    for label, tissue in enumerate(tissues, 1):
        if (regions := _regions_of(tissue, parts)) not in told:
            told.add(regions)
            layers.append((regions, label))

    def size(layer: tuple[tuple[str, ...], int]) -> int:
        return len(set.intersection(*(set(parts[name]) for name in layer[0])))

    return tuple(sorted(layers, key=size, reverse=True))


def _regions_of(tissue: str, parts: Parts) -> tuple[str, ...]:
    """The regions that a tissue is part of."""
    return tuple(name for name in parts if tissue in parts[name])


def _around(region: str, parts: Parts) -> tuple[str, ...]:
    """A region and those that hold it."""
    return tuple(name for name in parts if set(parts[name]) >= set(parts[region]))
