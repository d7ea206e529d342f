"""What was fixed before the first run: who is in which part, which arms there are, and how long they train.

`docs/results/benefit.md` says why. Nothing here may be changed for figures that have been seen.
"""

from dataclasses import dataclass

TUNING_SEEDS = (100, 101)
"""Their draws of labelled persons, initial weights and batches are used for nothing but the choice of weights."""
SAME, OTHER = "same", "other"
"""Settings of the hippocampi: those who taught the surrogate come from the user's source, or from another one."""
ROTATIONS = ("rotation-1", "rotation-2", "rotation-3")
"""Settings of the gliomas."""
ALL_ROTATIONS = "gliomas"
"""The persons of all rotations that are complete, together."""

TUNING_STEPS = 300
LEARNING_RATE = 3e-3
"""Adam; constant in the warm-up, then falling to 0 by a cosine."""
CONFIDENCE = 0.9
"""Probability from which on a pseudo-label counts, in the arms with confidence."""
DECAY = 0.99
"""Of the mean teacher's average."""

WEIGHTS: dict[str, tuple[float, ...]] = {
    "b": (0.1, 0.3, 1.0),
    "c": (0.1, 0.3, 1.0),
    "d": (0.03, 0.1, 0.3),
    "f": (0.1, 1.0, 10.0),
    "r": (0.1, 0.3, 1.0),
}
"""Weights of the unlabelled term that are tried, as many in each arm; the others take over what is chosen here."""

ARMS = {
    "a": "labelled only",
    "a6": "a with 6 planes a step",
    "a18": "a with 18 planes a step",
    "aa": "a for as many steps as t",
    "ad": "a, and DQELoss on {half} unlabelled planes more a step",
    "ab": "a, and confident pseudo-labels on {half} unlabelled planes more a step",
    "ar": "a, and the refiner's opinion as pseudo-label on {half} unlabelled planes more a step",
    "b": "a + confident pseudo-labels",
    "c": "a + star-weighted pseudo-labels",
    "d": "a + DQELoss on the unlabelled",
    "e": "c + d",
    "f": "a + mean teacher",
    "g": "c with shuffled stars",
    "h": "all labels",
    "i": "a + DQELoss on the labelled, with its target guard",
    "r": "a + the refiner's opinion as pseudo-label",
    "t": "taught on the teaching persons, then a",
    "d0": "d, refiner taught on the labelled alone",
    "s": "taught on the teaching persons, no label of the user's",
    "sd": "s + DQELoss on the unlabelled",
}
"""What each arm is; half of a batch is of another size in each study (`Design.what`)."""
HIPPOCAMPUS_PLAN: dict[tuple[str, int], tuple[str, ...]] = {
    (SAME, 3): ("a", "b", "d", "r", "t", "h", "c", "e", "f", "g", "i", "d0", "a6", "a18", "aa", "ad", "ab", "ar"),
    (OTHER, 3): ("a", "b", "d", "r", "t", "h", "f", "a6", "a18", "ad", "ab", "ar"),
    (OTHER, 0): ("s", "sd"),
    (SAME, 6): ("a", "b", "d", "r", "t", "h", "ad"),
    (SAME, 12): ("a", "b", "d", "r", "t", "h", "ad"),
}
"""Arms of each setting and number of labelled persons, in the order in which they run.

``a6``, ``a18``, ``aa`` and ``ad`` came in when figures were known: arms with an unlabelled term see half the labelled
planes, ad sees more planes a step, and t takes more steps. ``ab``, ``ar``, and ``ad`` at 6 and 12 came in when those
were known, too.
"""
BESIDE = ("ab", "ad", "ar")
"""Arms whose unlabelled planes come beside all labelled ones, and not in the place of half of them."""
GLIOMA_PLAN: dict[tuple[str, int], tuple[str, ...]] = {
    (rotation, 3): ("a", "ad", "d", "b", "h", "r", "t") for rotation in ROTATIONS
}
PRIMARY = (SAME, 3, "d", "b")
SECOND = ((SAME, 3, "d", "r"), (SAME, 3, "d", "t"), (SAME, 3, "d0", "b"), (OTHER, 3, "d", "t"))


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        setting: one of `SETTINGS`.
        labelled: how many persons are labelled.
        arm: one of `ARMS`.
        seed: of the labelled persons' draw, the initial weights and the batches.
    """

    setting: str
    labelled: int
    arm: str
    seed: int

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{self.setting}-{self.labelled}-{self.arm}-{self.seed}"


@dataclass(frozen=True)
class Design:
    """The study of one data set.

    Attributes:
        plan: arms of each setting and number of labelled persons, in the order in which they run.
        seeds: of each arm.
        warmup: steps that the arms of a seed share.
        steps: of each arm after that.
        batch: planes a step that a gradient flows through, in every arm but those of `BESIDE`.
        smallest: voxels that the warmed-up network must find in a plane for it to be an unlabelled one.
        readouts: setting, labelled persons and two arms of the differences that the plan names.
    """

    plan: dict[tuple[str, int], tuple[str, ...]]
    seeds: tuple[int, ...]
    warmup: int
    steps: int
    batch: int
    smallest: int
    readouts: tuple[tuple[str, int, str, str], ...]

    def planned(self) -> list[Run]:
        """Every run, those of the read-outs first, seed by seed."""
        return [
            Run(setting, labelled, arm, seed)
            for (setting, labelled), arms in self.plan.items()
            for seed in self.seeds
            for arm in arms
        ]

    def what(self, arm: str) -> str:
        """An arm in words."""
        return ARMS[arm].format(half=self.batch // 2)


NAMED = ((ALL_ROTATIONS, 3, "ad", "a"), (ALL_ROTATIONS, 3, "d", "b"))
"""What the gliomas are asked, named before their first run."""
HIPPOCAMPUS_STUDY = Design(HIPPOCAMPUS_PLAN, (0, 1, 2, 3, 4), 200, 600, 12, 20, (PRIMARY, *SECOND))
GLIOMA_STUDY = Design(GLIOMA_PLAN, (0, 1, 2), 200, 400, 6, 80, NAMED)
