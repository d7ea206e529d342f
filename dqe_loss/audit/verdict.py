"""What the numbers mean: each part's checks, with where their thresholds come from."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from dqe_loss.audit.exploitation import GUARDS, JITTERS
from dqe_loss.audit.stars_and_dice import OWN_OR_REFERENCE, Numbers, mean
from dqe_loss.audit.thresholds import Thresholds

Results = Mapping[str, Numbers]
"""Exam to what a part measured on it."""

WHOSE = {"own": "through the mask's own center", "reference": "through the reference's center"}
PROJECT = "target of this project for a hardened checkpoint"
OURS = "our choice"


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
        for which in OWN_OR_REFERENCE:
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
