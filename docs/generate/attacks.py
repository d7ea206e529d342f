"""What an optimizer makes of a mask for stars alone, with the guards on and off."""

from collections.abc import Iterator
from typing import Any

from stored import Figures, load, number, table, triple

REGIONS = ("TC", "WT", "ET")
_SHORT = {"shift": "shifted"}


def attacks() -> Figures:
    """What an optimizer makes of a mask for stars alone."""
    cells: dict[str, Any] = {}
    for folder in ("hacking", "hacking_BraTS-GLI-00001-000", "hacking_BraTS-GLI-00000-000"):
        cells = load(f"{folder}/attacks.json")["cells"] | cells
    default = load("hacking_hardened/attacks.json")["cells"]
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
        "default": table(
            ["from", "Dice before", "no guard", "the refiner's guard", "the target's guard", "both guards"],
            _guards(default),
        ),
        "steps": str(next(iter(default.values()))["steps"]),
        **_real(load("hardening/hardening.json")),
    }


def _guards(cells: dict[str, Any]) -> Iterator[list[str]]:
    """A row for each start, a column for each guard."""
    for start in dict.fromkeys(cell["start"] for cell in cells.values()):
        found = {cell["defense"]: cell["history"] for cell in cells.values() if cell["start"] == start}
        ends = [_end(found[how]) if how in found else "–" for how in ("none", "refiner", "guard", "both")]
        yield [_SHORT.get(start, start), _dice(next(iter(found.values()))[0]), *ends]


def _real(stored: dict[str, Any]) -> Figures:
    """Attacks from the expert's mask of real exams, by refiners that had not seen their source."""
    rows = {name: _left(stored["figures"], name) for name in ("on", "off")}
    both = [exam for exam in rows["off"]["planes"] if exam in rows["on"]["planes"]]
    header = ["exam", "planes, guard on", "planes, guard off", "3D, guard on", "3D, guard off"]
    return {
        "real": table(
            header,
            (
                [exam, *(triple(rows[guard][where][exam]) for where in ("planes", "volume") for guard in ("on", "off"))]
                for exam in both
            ),
        ),
        "real_exams": str(len(both)),
    }


def _left(figures: list[dict[str, Any]], guard: str) -> dict[str, dict[str, list[float | None]]]:
    """Dice of `REGIONS` left: place -> exam -> values; None where the reference has no such region."""
    measured = {row["measure"]: row["exams"] for row in figures}
    found: dict[str, dict[str, list[float | None]]] = {}
    for where in ("planes", "volume"):
        parts = [
            measured.get(f"attack from the expert's mask, Dice {region} left (guard {guard}, {where})", {})
            for region in REGIONS
        ]
        exams = dict.fromkeys(exam for part in parts for exam in part)
        found[where] = {exam: [part.get(exam) for part in parts] for exam in exams}
    return found


def _dice(moment: dict[str, Any]) -> str:
    """Dice in the rated planes."""
    return triple(moment["planes"])


def _end(history: list[dict[str, Any]]) -> str:
    """Dice in the rated planes at the end, and how the stars moved."""
    before, after = (number(moment["stars"], 1) for moment in (history[0], history[-1]))
    return f"{_dice(history[-1])} ({before}\u00a0→\u00a0{after}\u00a0stars)"
