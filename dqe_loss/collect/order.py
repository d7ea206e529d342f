"""In which order a rater sees the cases: seeded by rater, balanced by exam, with hidden repeats."""

import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
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
        shown: keys of the cases, for the journal: numbers are of one study file alone.
        chosen: why it comes where it comes, where that is not the random order: ``"random"`` or ``"disagreement"``.
    """

    key: str
    cases: tuple[int, ...]
    repeat: bool = False
    training: bool = False
    shown: tuple[str, ...] = ()
    chosen: str = ""


def trials_of(study: Study, rater: str) -> list[Trial]:
    """All questions to a rater, in order: training first, then batch after batch.

    The order depends on the seed, the rater's name and the batch alone, so that neither a restart nor an extension of
    the study changes it.
    """
    trials = _training(study)
    start = 0

    def exam_of(trial: Trial) -> str:
        return study.cases[trial.cases[0]].exam

    for batch, size in enumerate(study.batches):
        rng = np.random.default_rng([study.design.seed, zlib.crc32(rater.encode()), batch])
        numbers = range(start, start + size)
        start += size
        asked = _pairs(study, numbers, rng) if study.design.mode == "pairs" else [Trial(str(n), (n,)) for n in numbers]
        ordered = balanced(asked, exam_of, rng)
        trials += with_repeats(ordered, exam_of, study.design.repeats, rng)
    return [replace(trial, shown=keys_of(study, trial.cases, trial.training)) for trial in trials]


def keys_of(study: Study, cases: Sequence[int], training: bool) -> tuple[str, ...]:
    """Keys of cases by their numbers.

    Raises:
        IndexError: the study has no such case.
    """
    shown = study.training if training else study.cases
    return tuple(shown[number].key for number in cases)


def balanced(trials: Sequence[Trial], exam_of: Callable[[Trial], str], rng: np.random.Generator) -> list[Trial]:
    """Shuffle in rounds, each with one trial of every exam that has any left, and no exam twice in a row.

    Whenever a rater stops, all exams have been judged equally often, give or take one.
    """
    piles: dict[str, list[Trial]] = defaultdict(list)
    for index in rng.permutation(len(trials)):
        piles[exam_of(trials[index])].append(trials[index])
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


def with_repeats(
    trials: Sequence[Trial], exam_of: Callable[[Trial], str], share: float, rng: np.random.Generator
) -> list[Trial]:
    """Ask a share of the questions again, each more than `GAP` questions after the first time if that can be.

    Exams take turns, and where there are enough of them none comes twice in a row. Pairs come back with sides changed:
    a rater who prefers a side is found out.
    """
    count = min(round(share * len(trials)), len(trials))
    early = max(len(trials) - GAP - 2, count)  # later ones would find no place
    asked = list(trials)
    for first in balanced(trials[:early], exam_of, rng)[:count]:
        exams = ["", *map(exam_of, asked), ""]  # of what is before and after each place
        late = range(asked.index(first) + GAP + 1, len(asked) + 1)
        apart = [place for place in late if exam_of(first) not in exams[place : place + 2]]
        place = int(rng.choice(apart or late)) if late else len(asked)
        asked.insert(place, replace(first, key=f"{first.key}/again", cases=first.cases[::-1], repeat=True))
    return asked


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
