"""What an optimizer makes of a mask for stars alone, with the guards on and off."""

from typing import Any

from stored import Figures, load, number, table, triple

_LEFT = [
    f"attack from the expert's mask, Dice {region} left (guard {{}}, {place})"
    for place in ("planes", "volume")
    for region in ("TC", "WT", "ET")
]
_SHIFTED = [
    [f"attack from a shifted mask, {what} (guard on, {place})" for what in ("rise of mean Dice", "mean Dice reached")]
    for place in ("planes", "volume")
]
"""By place: how far mean Dice rises, and where it ends."""


def attacks() -> Figures:
    """What an optimizer makes of a mask for stars alone."""
    cells: dict[str, Any] = {}
    for folder in ("hacking", "hacking_BraTS-GLI-00001-000", "hacking_BraTS-GLI-00000-000"):
        cells = load(f"{folder}/attacks.json")["cells"] | cells
    bare = cells["phantom-0/reference/unclamped/60"]["history"]
    rows = []
    for exam in ("phantom-0", "BraTS-GLI-00001-000", "BraTS-GLI-00000-000"):
        for start, long in (("reference", 60), ("shift", 200), ("empty", 200)):
            free, guarded = (cells[f"{exam}/{start}/{how}"]["history"] for how in ("none/60", f"guard/{long}"))
            rows.append([exam, start, _dice(free[0]), _end(free), _end(guarded)])
    defenses = [
        [how, _dice(end := cells[f"phantom-0/reference/{how}/60"]["history"][-1]), triple(end["volume"])]
        for how in ("none", "jitter", "straight-through", "guard")
    ]
    noise = cells["phantom-0/noise/guard/60"]["history"]
    shifted = cells["BraTS-GLI-00001-000/shift/guard/200"]["history"]
    return {
        "stars_before": number(bare[0]["stars"], 1),
        "stars_after": number(bare[-1]["stars"], 1),
        "noise_stars": number(noise[0]["stars"], 1),
        "noise_dice": _dice(noise[-1]),
        "volume_before": triple(shifted[0]["volume"]),
        "volume_after": triple(shifted[-1]["volume"]),
        "published": table(["exam", "from", "Dice before", "without a guard", "with the guard"], rows),
        "defenses": table(["defense", "Dice in the rated planes", "Dice in 3D"], defenses),
        **_real(load("hardening/hardening.json")),
    }


def _real(stored: dict[str, Any]) -> Figures:
    """Attacks without a target: on the expert's mask and on a shifted one, by refiners that had not seen the source."""
    rows = [*stored["figures"], *stored["phantoms"]]
    guards = {guard: {name: _exams(rows, name.format(guard)) for name in _LEFT} for guard in ("on", "off")}
    shifted = [[_exams(rows, name) for name in names] for names in _SHIFTED]

    def left(guard: str, exam: str) -> list[str]:
        dice = [guards[guard][name][exam] for name in _LEFT]
        return [triple(dice[:3]), triple(dice[3:])]

    on, off = (guards[guard][_LEFT[0]] for guard in ("on", "off"))
    return {
        "default": table(
            ["exam", "expert's mask: Dice left in the rated planes", "in 3D", "shifted mask: mean Dice there", "in 3D"],
            (
                [exam, *left("on", exam), *(_from_to(rise.get(exam), end.get(exam)) for rise, end in shifted)]
                for exam in on
            ),
        ),
        "off": table(
            ["exam", "guard", "Dice left in the rated planes", "in 3D"],
            ([exam, guard, *left(guard, exam)] for exam in off if exam in on for guard in ("on", "off")),
        ),
        "best": number(max(shifted[0][1].values())),
    }


def _from_to(rise: float | None, reached: float | None) -> str:
    """Mean Dice before and after an attack; an en dash where it was not made."""
    if rise is None or reached is None:
        return "–"
    return f"{number(reached - rise)}\u00a0→\u00a0{number(reached)}"


def _exams(rows: list[dict[str, Any]], measure: str) -> dict[str, float]:
    """A measure's value in each exam, real or synthetic."""
    return {exam: value for row in rows if row["measure"] == measure for exam, value in row["exams"].items()}


def _dice(moment: dict[str, Any]) -> str:
    """Dice in the rated planes."""
    return triple(moment["planes"])


def _end(history: list[dict[str, Any]]) -> str:
    """Dice in the rated planes at the end, and how the stars moved."""
    before, after = (number(moment["stars"], 1) for moment in (history[0], history[-1]))
    return f"{_dice(history[-1])} ({before}\u00a0→\u00a0{after}\u00a0stars)"
