"""Which cases to rate next: those that a surrogate and raters disagree about, with random ones mixed in.

A study that only shows what a surrogate finds hard says nothing about the rest: the random share keeps an honest
sample.
"""

import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dqe_loss.collect.journal import Entry
from dqe_loss.collect.order import GAP, Trial
from dqe_loss.collect.study import Study
from dqe_loss.collect.table import read_answers
from dqe_loss.data.file_names import written

Reorder = Callable[[str, list[Trial]], list[Trial]]
"""From a rater and the trials in their random order to the order in which they are asked."""


def priority_order(study: Study, folder: Path, rated: pd.DataFrame, random_share: float) -> Reorder:
    """The order of every rater's cases by what is to be learned from them now.

    Args:
        study: the study.
        folder: of the study, with the answers so far.
        rated: see `priorities`.
        random_share: see `by_priority`.

    Raises:
        ValueError: the table knows none of the study's segmentations, or a journal cannot be read.
    """
    answers = read_answers(study, folder)
    priority = priorities(study, rated, answers)

    def reorder(rater: str, trials: list[Trial]) -> list[Trial]:
        rng = np.random.default_rng([study.design.seed, zlib.crc32(rater.encode()), 0xAC])
        return by_priority(trials, priority, random_share, rng, list(answers[rater]))

    return reorder


def told_order(study: Study, stars: Path, rated: pd.DataFrame, random_share: float) -> Study:
    """The study with a note of what its cases are ordered by from now on; for arguments see `priority_order`."""
    note = {
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "stars": written(os.path.abspath(stars)),
        "checkpoint_sha256": str(rated["checkpoint_sha256"].iloc[0]),
        "random_share": random_share,
    }
    return replace(study, reordered=(*study.reordered, note))


def priorities(study: Study, rated: pd.DataFrame, answers: Mapping[str, Mapping[str, Entry]]) -> NDArray[np.float64]:
    """How much is to be learned from each case, 0 to 1.

    Of a case that nobody has rated, by how much the surrogate's stars differ between views; of one that somebody has,
    by how far the mean of its raters is from the surrogate, apart from what both differ by on average. Either is taken
    by its rank among its like, for they are not of one unit.

    Args:
        study: the study.
        rated: stars of its segmentations, as `dqe_loss.data.tables.rated.read_rated` returns them.
        answers: as `dqe_loss.collect.table.read_answers` gives them.

    Raises:
        ValueError: the table knows none of the study's segmentations.
    """
    by_path = rated[rated["error"] == ""].set_index("mask")[["mean", "spread"]]
    by_path = by_path[~by_path.index.duplicated()]
    stars = by_path.reindex([case.mask for case in study.cases]).reset_index(drop=True)
    if stars["mean"].isna().all():
        raise ValueError("--stars knows none of the study's segmentations; rate the same --data with dqe rate")
    given = pd.DataFrame(
        [
            (entry["cases"][0], entry["verdict"])
            for own in answers.values()
            for trial, entry in own.items()
            if not trial.startswith("training/")
        ],
        columns=["case", "stars"],
    )
    means = given.groupby("case")["stars"].mean().reindex(range(len(study.cases))).astype(float)
    gap = means - stars["mean"]
    gap = (gap - gap.mean()).abs()
    ranks = gap.rank(pct=True).fillna(stars["spread"].where(means.isna()).rank(pct=True))
    found: NDArray[np.float64] = ranks.fillna(0.5).to_numpy(np.float64)  # without stars: neither first nor last
    return found


def by_priority(
    trials: Sequence[Trial],
    priority: NDArray[np.float64],
    random_share: float,
    rng: np.random.Generator,
    answered: Sequence[str] = (),
) -> list[Trial]:
    """Trials with the highest priority first, a share of random ones among them, training before and repeats after.

    Which ones come at random is drawn before anybody looks at priorities: they are a random sample of all.

    Args:
        trials: as `dqe_loss.collect.order.trials_of` gives them; their order is the random one.
        priority: of each case.
        random_share: share of the cases that come in their random order.
        rng: source of randomness.
        answered: keys of those that have an answer, in the order in which they got it. They stay in that order, before
            all others: one that is taken back is the next, and repeats keep their distance from what was seen.

    Returns:
        The same trials, each with why it was `chosen`. Repeats keep their distance of `dqe_loss.collect.order.GAP`
        where there are enough trials.
    """
    training = [trial for trial in trials if trial.training]
    as_they_come = [trial for trial in trials if not trial.training and not trial.repeat]
    drawn = rng.random(len(as_they_come)) < random_share
    named = [
        replace(trial, chosen="random" if own else "disagreement")
        for trial, own in zip(as_they_come, drawn, strict=True)
    ]
    repeats = [trial for trial in trials if trial.repeat]
    by_key = {trial.key: trial for trial in [*named, *repeats]}
    done = [by_key.pop(key) for key in answered if key in by_key]
    sample = [trial for trial in by_key.values() if trial.chosen == "random"]
    rest = [trial for trial in by_key.values() if trial.chosen == "disagreement"]
    rest.sort(key=lambda trial: -priority[list(trial.cases)].mean())
    ordered: list[Trial] = []
    while sample or rest:
        ordered.append((sample if not rest or (sample and rng.random() < random_share) else rest).pop(0))
    again = [trial for trial in by_key.values() if trial.repeat]
    ordered = [*done, *_repeated_early(ordered, {trial.key.removesuffix("/again") for trial in again})]
    places = {trial.key: float(i) for i, trial in enumerate(ordered)}
    for trial in again:
        earliest = min(places[trial.key.removesuffix("/again")] + GAP, len(ordered) - 1.0)
        places[trial.key] = rng.uniform(max(earliest, len(done) - 1.0), len(ordered))
    return training + sorted([*ordered, *again], key=lambda trial: places[trial.key])


def _repeated_early(ordered: list[Trial], repeated: set[str]) -> list[Trial]:
    """The order with what comes back moved before the last `GAP`, after which it could not come back late enough."""
    early, late = ordered[:-GAP], ordered[-GAP:]
    moved = [trial for trial in late if trial.key in repeated]
    return [*early, *moved, *(trial for trial in late if trial.key not in repeated)]
