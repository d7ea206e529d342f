"""In which order a rater sees the cases: seeded by rater, balanced by exam, with hidden repeats."""

import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from dqe_loss.collect.study import Study

GAP = 10
"""Cases between the first and the second look at one, where there are enough: so that it is judged, not remembered."""
PAIRS_PER_EXAM = 15
"""Pairs of one exam that are asked for at most (our choice): all of six segmentations, a sample of more."""


@dataclass(frozen=True)
class Trial:
    """One question to a rater.

    Attributes:
        key: what the journal calls it.
        cases: numbers of the cases shown; two, from left to right, in a study of pairs.
        repeat: whether it was asked before.
        training: whether the cases are those of the training.
        chosen: why it comes where it comes, where that is not the random order: ``"random"`` or ``"disagreement"``.
    """

    key: str
    cases: tuple[int, ...]
    repeat: bool = False
    training: bool = False
    chosen: str = ""


def trials_of(study: Study, rater: str) -> list[Trial]:
    """All questions to a rater, in order: training first, then batch after batch.

    The order depends on the seed, the rater's name and the batch alone, so that neither a restart nor an extension of
    the study changes it.
    """
    trials = _training(study)
    start = 0
    for batch, size in enumerate(study.batches):
        rng = np.random.default_rng([study.design.seed, zlib.crc32(rater.encode()), batch])
        numbers = range(start, start + size)
        start += size
        asked = _pairs(study, numbers, rng) if study.design.mode == "pairs" else [Trial(str(n), (n,)) for n in numbers]
        ordered = balanced(asked, [study.cases[trial.cases[0]].exam for trial in asked], rng)
        trials += with_repeats(ordered, study.design.repeats, rng)
    return trials


def balanced(trials: Sequence[Trial], exams: Sequence[str], rng: np.random.Generator) -> list[Trial]:
    """Shuffle in rounds, each with one trial of every exam that has any left, and no exam twice in a row.

    Whenever a rater stops, all exams have been judged equally often, give or take one.
    """
    piles: dict[str, list[Trial]] = defaultdict(list)
    for index in rng.permutation(len(trials)):
        piles[exams[index]].append(trials[index])
    ordered: list[Trial] = []
    last = ""
    while piles:
        names = [str(name) for name in rng.permutation(sorted(piles))]
        if names[0] == last and len(names) > 1:
            names[0], names[1] = names[1], names[0]
        for name in names:
            ordered.append(piles[name].pop())
            if not piles[name]:
                del piles[name]
        last = names[-1]
    return ordered


def with_repeats(trials: Sequence[Trial], share: float, rng: np.random.Generator) -> list[Trial]:
    """Ask a share of the questions again, each later than `GAP` questions after the first time if that can be.

    Pairs come back with sides changed: a rater who prefers a side is found out.
    """
    count = min(round(share * len(trials)), len(trials))
    early = max(len(trials) - GAP, count)  # the last ones could not come back late enough
    chosen = sorted(rng.choice(early, count, replace=False).tolist())
    # Each gets a place between whole numbers, so that no insertion moves another one.
    places = [(float(i), trial) for i, trial in enumerate(trials)]
    for first in chosen:
        earliest = min(first + GAP, len(trials) - 1)
        place = rng.uniform(earliest, len(trials))
        again = replace(trials[first], key=f"{trials[first].key}/again", cases=trials[first].cases[::-1], repeat=True)
        places.append((place, again))
    return [trial for _, trial in sorted(places, key=lambda placed: placed[0])]


def _pairs(study: Study, numbers: range, rng: np.random.Generator) -> list[Trial]:
    """Pairs of one exam's cases, of a batch or with those before it, sides at random.

    Which pairs are asked is the same for every rater.
    """
    by_exam: dict[str, list[int]] = defaultdict(list)
    for number in range(numbers[-1] + 1):
        by_exam[study.cases[number].exam].append(number)
    shared = np.random.default_rng([study.design.seed, 0xBEEF])
    trials = []
    for own in by_exam.values():
        pairs = [pair for pair in combinations(own, 2) if pair[1] in numbers]
        if len(pairs) > PAIRS_PER_EXAM:
            pairs = [pairs[i] for i in sorted(shared.choice(len(pairs), PAIRS_PER_EXAM, replace=False).tolist())]
        for first, second in pairs:
            sides = (first, second) if rng.random() < 0.5 else (second, first)
            trials.append(Trial(f"{first}-{second}", sides))
    return trials


def _training(study: Study) -> list[Trial]:
    """Training cases in the order given, the same for all; pairs of neighbors of one exam."""
    numbers = range(len(study.training))
    if study.design.mode == "stars":
        return [Trial(f"training/{n}", (n,), training=True) for n in numbers]
    exams = [case.exam for case in study.training]
    return [Trial(f"training/{n}-{n + 1}", (n, n + 1), training=True) for n in numbers[:-1] if exams[n] == exams[n + 1]]
