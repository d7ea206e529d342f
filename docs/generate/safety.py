"""Whether stars can be trusted: the cross-validated default, attacks, trainings, masks of real networks."""

import re
from collections.abc import Iterator
from typing import Any

from stored import Figures, card, load, number, select, stored_tables, table, triple

FAR = 0.5
"""Stars that an expert's mask may lie from its published stars."""

_OFF = "expert masks, furthest from the published stars"

_SHORT = {
    "expert masks more than .5 star from the published stars, share": "expert masks more than 0.5 stars off, share",
    "expert masks, furthest from the published stars": "expert mask that is furthest off, stars",
    "r of stars and mean Dice (expert, corruptions, natural)": "r of stars and mean Dice, all masks",
    "natural masks, r with mean Dice": "r of stars and mean Dice, masks of networks",
    "ROC AUC for a mean Dice below .7": "ROC AUC of stars for a mean Dice below 0.7",
    "absurd masks, least distance below the expert's": "absurd mask that comes closest: stars below the expert's",
    "z-scores of the head, stars moved": "z-scores of the head: stars moved at most",
    "z-scores of the volume, stars moved": "z-scores of the volume: stars moved at most",
    "one modality x 4 or / 4, stars moved": "one modality multiplied or divided by 4: stars moved at most",
}
_GROUPS = {"first": "first three"}
_BY_GROUP = [
    "expert masks, furthest from the published stars",
    "r of stars and mean Dice (expert, corruptions, natural)",
    "ROC AUC for a mean Dice below .7",
    "absurd masks, least distance below the expert's",
]


def hardening() -> Figures:
    """The cross-validation by source of the default checkpoint."""
    stored = load("hardening/hardening.json")
    measured = {row["measure"]: row for row in stored["figures"]}
    exams, gate = [row for row in stored["exams"] if row["exam"] in measured[_OFF]["exams"]], stored["gate"]
    off = {row["exam"]: row["published"] - row["thorough"] for row in exams}
    far = sorted(value for value in off.values() if abs(value) > FAR)
    r = measured["r of stars and mean Dice (expert, corruptions, natural)"]
    groups = sorted(r["groups"].values())
    natural = measured["natural masks, r with mean Dice"]
    absurd = measured["absurd masks, least distance below the expert's"]
    return {
        "exams": str(len(exams)),
        "sources": str(len(groups)),
        "within": str(len(exams) - len(far)),
        "far": str(len(far)),
        "far_least": number(far[0], 1),
        "far_most": number(far[-1], 1),
        "r": number(r["measured"]),
        "r_published": number(r["beside"]["published"]),
        "r_oracle": number(r["beside"]["oracle"]),
        "r_high": number(groups[-1]),
        "r_lowest": number(groups[0]),
        "natural": number(natural["measured"]),
        "natural_published": number(natural["beside"]["published"]),
        "absurd": number(absurd["measured"], 1),
        "absurd_published": number(-absurd["beside"]["published"], 1),
        "absurd_near": number(min(v for exam, v in absurd["exams"].items() if abs(off[exam]) <= FAR), 1),
        "scored": number(measured["z-scores of the head, stars moved"]["measured"], 1),
        "left": triple(
            measured[f"attack from the expert's mask, Dice {region} left (guard on, volume)"]["measured"]
            for region in ("TC", "WT", "ET")
        ),
        "full_marks": f"{gate['full_marks']:g}",
        "survey_full_marks": f"{gate['survey_full_marks']:g}",
        "exponent": f"{gate['exponent']:g}",
        "goals": table(["figure", "goal", "default", "met", "published weights"], _goals(stored["figures"])),
        "groups": table(
            ["figure", *(_GROUPS.get(group, group) for group in r["groups"])],
            ([_SHORT.get(name, name), *map(number, measured[name]["groups"].values())] for name in _BY_GROUP),
        ),
        "by_exam": table(
            ["exam", "published stars", "default's stars", "agreement in the rated planes", "r with mean Dice"],
            (
                [
                    row["exam"],
                    *(number(row[key]) for key in ("published", "thorough")),
                    row["agreement in three planes, TC/WT/ET"].replace("nan", "–").replace("/", "\u00a0/\u00a0"),
                    number(row["r"]),
                ]
                for row in exams
            ),
        ),
        "choices": table(
            ["refiner", "steps", "right", "r", "error", "blind", "attacked", "shifted"],
            map(_choice, load("hardening/choices.json")["rows"]),
        ),
        "longer": table(["group", "right", "lowest exam", "r", "error", "attacked"], _longer()),
    }


def _goals(rows: list[dict[str, Any]]) -> Iterator[list[str]]:
    """All figures of the exams that were measured."""
    for row in rows:
        value, goal = row["measured"], row["goal"]
        if value is None:
            continue
        relation = re.fullmatch(r"([<>]=) ([\d.]+)", goal or "")
        limit = float(relation[2]) if relation else 0.0
        met = None if relation is None else value <= limit if relation[1] == "<=" else value >= limit
        said = goal.replace("<= ", "≤\u00a0").replace(">= ", "≥\u00a0") if relation else "–"
        name = re.sub(r"(?<![\d])\.(\d)", r"0.\1", _SHORT.get(row["measure"], row["measure"]))
        published = row["beside"].get("published")
        yield [name, said, number(value), {True: "yes", False: "**no**", None: "–"}[met], number(published)]


def _choice(row: dict[str, Any]) -> list[str]:
    """A refiner that was tried, judged on the group that was held out."""
    last = row["last_weights"]
    return [
        row["reader"].replace("trust by voxel", "trust for each voxel"),
        str(row["steps"]),
        f"{number(last['right_mean'])} ({number(last['right_min'])})",
        *(number(last[key]) for key in ("r_core", "mae", "blind_dice")),
        triple(last["att_right_min"]),
        number(last["att_shift_mean"]),
    ]


def _longer() -> Iterator[list[str]]:
    """Before and after longer teaching on more masks with wrong borders."""
    rows = load("hardening/longer_teaching.json")["rows"]
    for group in dict.fromkeys(row["group"] for row in rows):
        before, after = sorted((row for row in rows if row["group"] == group), key=lambda row: row["steps"])
        keys = ("right", "lowest", "r", "error", "attacked")
        yield [_GROUPS.get(group, group), *(f"{number(before[key])} → {number(after[key])}" for key in keys)]


def shipped() -> Figures:
    """What the shipped default checkpoint learned from, by its card."""
    found = re.search(r"(\d+) real and (\d+) synthetic exams", card("hardened"))
    if not found:
        raise ValueError("the card of hardened does not say how many real and synthetic exams it learned from")
    return {"real": found[1], "synthetic": found[2]}


def attacks() -> Figures:
    """What an optimizer makes of a mask for stars alone."""
    cells: dict[str, Any] = {}
    for folder in ("hacking", "hacking_BraTS-GLI-00001-000", "hacking_BraTS-GLI-00000-000"):
        cells = load(f"{folder}/attacks.json")["cells"] | cells
    former = load("hacking_hardened/attacks.json")["cells"]
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
        "former": table(
            ["from", "defense", "Dice before", "after"],
            (
                [cell["start"], cell["defense"], _dice(cell["history"][0]), _end(cell["history"])]
                for cell in former.values()
            ),
        ),
    }


def _dice(moment: dict[str, Any]) -> str:
    """Dice in the rated planes."""
    return triple(moment["planes"])


def _end(history: list[dict[str, Any]]) -> str:
    """Dice in the rated planes at the end, and how the stars moved."""
    before, after = (number(moment["stars"], 1) for moment in (history[0], history[-1]))
    return f"{_dice(history[-1])} ({before}\u00a0→\u00a0{after}\u00a0stars)"


def safety() -> Figures:
    """What networks learn that are trained with the term."""
    phantoms, exams = stored_tables("training_safety/table.md")
    [off] = stored_tables("training_safety_off/table.md")
    columns = {
        "loss": "loss",
        "weight": "w",
        "mean Dice": "mean Dice",
        "against Dice alone": "against Dice alone",
        "stars": "stars",
    }
    none = next(row for row in off if row["loss"] == "none of them")
    return {
        "seeds": none["seeds"],
        "none": none["against Dice alone"].split(" ")[0].removeprefix("-"),
        "none_stars": none["stars"].split(" ")[0],
        "phantoms": select(phantoms, columns),
        "real": select(exams, columns),
        "off": select(off, columns).replace("no balance", "no cap"),
    }


def audits() -> Figures:
    """Stored audits on two phantoms."""
    kinds = {name: load(f"audit_{name}/audit.json")["parts"] for name in ("brainlesion", "hardened")}
    titles = {key: part["title"] for parts in kinds.values() for key, part in parts.items()}
    verdict = {True: "passed", False: "**failed**", None: "not judged"}

    def passed(part: str) -> list[str]:
        return [verdict[parts.get(part, {}).get("passed")] for parts in kinds.values()]

    rows = ([title, *passed(part)] for part, title in titles.items())
    return {"verdicts": table(["part", "published weights", "earlier default"], rows)}


def real_exams() -> Figures:
    """The published weights on masks of real networks."""
    exams = load("evaluation_real_exams/evaluation.json")["references"]["exams"]
    rows = []
    for name, exam in exams.items():
        found, failure = exam["correlation"]["mean"], exam["failure"]["mean"]
        rows.append([
            name,
            str(exam["segmentations"]),
            triple(found[f"dice_{region}"]["pearson"]["value"] for region in ("TC", "WT", "ET")),
            number(found["dice_mean"]["pearson"]["value"]),
            f"{number(failure['aurc'])} ({number(failure['optimal'])}, {number(failure['random'])})",
        ])  # fmt: skip
    brain = max(load("audit_brainlesion/audit.json")["parts"]["absurd"]["exams"].values(), key=_edema)
    return {
        "table": table(["exam", "masks", "r with Dice TC / WT / ET", "r with mean Dice", "AURC (best, chance)"], rows),
        "edema": number(_edema(brain), 1),
        "right": number(brain["reference"], 1),
    }


def _edema(exam: dict[str, Any]) -> float:
    """Stars of the whole brain as edema."""
    return float(exam["masks"]["brain as edema"]["own"])
