"""What the numbers mean: each part's checks, with the thresholds and where they come from."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from dqe_loss.audit.exploitation import GUARDS, JITTERS
from dqe_loss.audit.stars_and_dice import CENTERS, Numbers, mean
from dqe_loss.task import GLIOMA, Task

Results = Mapping[str, Numbers]
"""Exam to what a part measured on it."""

WHOSE = {"own": "through the mask's own center", "reference": "through the reference's center"}
PROJECT = "target of this project for a hardened checkpoint"
OURS = "our choice"


@dataclass(frozen=True)
class Thresholds:
    """Where a check passes. All are ours; no one has validated any of them on patients.

    Attributes:
        absurd_margin: stars by which the best absurd mask must stay below the reference, through the reference's
            center (project target).
        absurd_dice: a mask counts as absurd up to this mean Dice in the rated planes: a tumor moved by five voxels is
            no absurd mask (our choice).
        ladder_spearman: of severity and stars, mean over exams, worst ladder (project target).
        ladder_rise: stars by which a worse mask of a ladder may exceed a better one, mean over exams (our choice).
        ladder_visible: a ladder is judged where severity and Dice in the rated planes have at most this Spearman:
            nobody can rate an error that the planes do not show (our choice).
        attack_dice: Dice of each region left in the rated planes after an attack from the reference (project targets).
        attack_change: change of mean Dice in the rated planes after an attack from the shifted mask, more than
            this (project target); the same is asked from the corrupted one (our choice).
        direction_cosine: of the loss's and the Dice loss's gradients, mean over masks, more than this: a gradient
            without direction has 0, and the published weights hardly more (our choice).
        direction_kept: share that the guard keeps, mean over masks, more than this: a gradient without direction
            keeps half, and so do the published weights (our choice).
        soft_distance: stars by which soft masks may be rated apart from the binary one (our choice, the distance
            that the project allows a hardened checkpoint's good masks).
        strict_distance: the same for changes of an exam that a rating should hardly notice (our choice).
        loose_distance: the same for the other changes (our choice).
        regions: names of the regions, of which the largest is judged first.
        order: places of the regions in the order of the checks.
    """

    absurd_margin: float = 1.5
    absurd_dice: float = 0.3
    ladder_spearman: float = -0.8
    ladder_rise: float = 0.5
    ladder_visible: float = -0.9
    attack_dice: tuple[float, ...] = (0.85, 0.9, 0.85)
    attack_change: float = 0.0
    direction_cosine: float = 0.1
    direction_kept: float = 0.6
    soft_distance: float = 0.5
    strict_distance: float = 0.25
    loose_distance: float = 0.5
    regions: tuple[str, ...] = GLIOMA.regions
    order: tuple[int, ...] = (1, 0, 2)


def thresholds_of(task: Task) -> Thresholds:
    """Where the checks of a task pass: what is left of the whole after an attack must be more than of a part."""
    sizes = [len(task.parts[region]) for region in task.regions]
    order = tuple(sorted(range(len(sizes)), key=lambda place: -sizes[place]))
    left = tuple(0.9 if region == task.whole else 0.85 for region in task.regions)
    share = (task.stars[1] - task.stars[0]) / (GLIOMA.stars[1] - GLIOMA.stars[0])  # how large a star is
    plain = Thresholds()
    return replace(
        plain,
        attack_dice=left,
        regions=task.regions,
        order=order,
        **{name: share * getattr(plain, name) for name in _IN_STARS},
    )


_IN_STARS = ("absurd_margin", "ladder_rise", "soft_distance", "strict_distance", "loose_distance")


@dataclass(frozen=True)
class Check:
    """One comparison with a threshold.

    Attributes:
        what: what is compared, in words.
        measured: the worst value; None if there was nothing to judge, which passes.
        rule: ``">="``, ``">"`` or ``"<="``.
        limit: the threshold.
        where: the exam or mask of the worst value.
        source: where the threshold comes from.
        unguarded: of an attack that a refiner's guard holds back, the worst value with the guard off; it is told, and
            not judged, for the loss has the guard on. None elsewhere.
    """

    what: str
    measured: float | None
    rule: str
    limit: float
    where: str
    source: str
    unguarded: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the measured value keeps to the rule."""
        if self.measured is None:
            return True
        rules: dict[str, Callable[[float, float], bool]] = {
            ">=": lambda value, limit: value >= limit,
            ">": lambda value, limit: value > limit,
            "<=": lambda value, limit: value <= limit,
        }
        return rules[self.rule](self.measured, self.limit)


def judge(part: str, results: Results, thresholds: Thresholds | None = None) -> list[Check]:
    """The checks of a part; the part passes if all of them do.

    Args:
        part: its name, a key of `JUDGES`.
        results: exam to what the part measured.
        thresholds: where the checks pass.

    Raises:
        ValueError: if the part is unknown.
    """
    if part not in JUDGES:
        raise ValueError(f"unknown part {part!r}; expected one of {', '.join(JUDGES)}")
    return JUDGES[part](results, thresholds or Thresholds())


def judge_absurd(results: Results, t: Thresholds) -> list[Check]:
    """How far the best absurd mask stays below the reference."""
    margins = [
        (numbers["reference"] - mask["reference"], f"{name}, {exam}")
        for exam, numbers in results.items()
        for name, mask in numbers["masks"].items()
        if mask["dice"] <= t.absurd_dice
    ]
    what = f"stars by which the best absurd mask (mean Dice in the rated planes up to {t.absurd_dice:g}) stays below "
    what += "the reference, through the reference's center"
    return [_lowest(what, margins, ">=", t.absurd_margin, PROJECT)]


def judge_ladders(results: Results, t: Thresholds) -> list[Check]:
    """The worst ladder that the rated planes show."""
    orders, rises = [], []
    for name in _common(numbers["ladders"] for numbers in results.values()):
        for which in CENTERS:
            rungs = [numbers["ladders"][name][which] for numbers in results.values()]
            seen = [rung for rung in rungs if rung["visible"] <= t.ladder_visible]
            if seen:
                where = f"{name.replace('_', ' ')}, {WHOSE[which]}"
                orders.append((mean([rung["spearman"] for rung in seen]), where))
                rises.append((mean([rung["rise"] for rung in seen]), where))
    return [
        _highest("Spearman of severity and stars, worst ladder", orders, "<=", t.ladder_spearman, PROJECT),
        _highest("largest rise in stars as an error grows, worst ladder", rises, "<=", t.ladder_rise, OURS),
    ]


def judge_exploitation(results: Results, t: Thresholds) -> list[Check]:
    """Dice left after attacks, with fixed and jittered planes, worst exam; a refiner's guard is on, as in the loss."""

    def worst(
        start: str, measured: Callable[[Numbers], float], what: str, rule: str, limit: float, source: str
    ) -> Check:
        found: dict[str, list[tuple[float, str]]] = {}
        for exam, numbers in results.items():
            for planes in JITTERS:
                for guard, run in numbers["attacks"][start][planes].items():
                    found.setdefault(guard, []).append((measured(run), f"{planes} planes, {exam}"))
        judged = next(guard for guard in GUARDS if guard in found and guard != "off")
        check = _lowest(f"{what}, {GUARDS[judged]}", found[judged], rule, limit, source)
        return replace(check, unguarded=min(found["off"])[0] if "off" in found else None)

    def left(region: int) -> Callable[[Numbers], float]:
        return lambda run: float(run["after"]["planes"][region])

    def change(run: Numbers) -> float:
        return mean(run["after"]["planes"]) - mean(run["before"]["planes"])

    checks = []
    for i in t.order:
        what = f"Dice of {t.regions[i]} left in the rated planes after an attack from the reference"
        checks.append(worst("reference", left(i), what, ">=", t.attack_dice[i], PROJECT))
    for start, source in (("shifted", PROJECT), ("corrupted", OURS)):
        what = f"change of mean Dice in the rated planes by an attack from the {start} mask"
        checks.append(worst(start, change, what, ">", t.attack_change, source))
    return checks


def judge_direction(results: Results, t: Thresholds) -> list[Check]:
    """The mean direction on corrupted masks, worst exam."""

    def means(key: str) -> list[tuple[float, str]]:
        return [(mean([mask[key] for mask in numbers["masks"].values()]), exam) for exam, numbers in results.items()]

    return [
        _lowest("cosine of the loss's and Dice's gradients", means("cosine"), ">", t.direction_cosine, OURS),
        _lowest("share of the gradient that a target's guard keeps", means("kept"), ">", t.direction_kept, OURS),
    ]


def judge_soft(results: Results, t: Thresholds) -> list[Check]:
    """How far soft masks are from binary ones, and whether being unsure can earn stars."""
    apart, gains = [], []
    for exam, numbers in results.items():
        for kind, levels in numbers["kinds"].items():
            for level in levels:
                where, change = f"{kind} {level['level']:g}, {exam}", level["stars"] - numbers["binary"]
                gains.append((change, where))
                if level["mild"]:
                    apart.append((abs(change), where))
    return [
        _highest("distance of mildly soft masks from the binary one, in stars", apart, "<=", t.soft_distance, OURS),
        _highest("stars gained by any softness", gains, "<=", t.soft_distance, OURS),
    ]


def judge_invariance(results: Results, t: Thresholds) -> list[Check]:
    """How far changes that do not matter move the stars."""
    apart: dict[bool, list[tuple[float, str]]] = {True: [], False: []}
    for exam, numbers in results.items():
        for name, change in numbers["changes"].items():
            apart[change["strict"]].append((abs(change["stars"] - numbers["unchanged"]), f"{name}, {exam}"))
    what = "stars moved by"
    return [
        _highest(f"{what} scaled intensities and one-voxel moves", apart[True], "<=", t.strict_distance, OURS),
        _highest(f"{what} z-scores, contrast, mirroring, cropping", apart[False], "<=", t.loose_distance, OURS),
    ]


JUDGES: dict[str, Callable[[Results, Thresholds], list[Check]]] = {
    "absurd": judge_absurd,
    "ladders": judge_ladders,
    "exploitation": judge_exploitation,
    "direction": judge_direction,
    "soft": judge_soft,
    "invariance": judge_invariance,
}
"""What judges each part."""


def check_as_dict(check: Check) -> Numbers:
    """A check as JSON-ready values, with its verdict."""
    return {f.name: getattr(check, f.name) for f in fields(check)} | {"passed": check.passed}


def _lowest(what: str, values: Sequence[tuple[float, str]], rule: str, limit: float, source: str) -> Check:
    measured, where = min(values) if values else (None, "nothing to judge")
    return Check(what, measured, rule, limit, where, source)


def _highest(what: str, values: Sequence[tuple[float, str]], rule: str, limit: float, source: str) -> Check:
    measured, where = max(values) if values else (None, "nothing to judge")
    return Check(what, measured, rule, limit, where, source)


def _common(mappings: Iterable[Mapping[str, object]]) -> list[str]:
    """Keys that occur in all of several mappings, in the order of the first."""
    first, *rest = mappings
    return [key for key in first if all(key in other for other in rest)]
