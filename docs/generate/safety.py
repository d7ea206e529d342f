"""Whether stars can be trusted: attacks, trainings, audits, masks of real networks."""

from typing import Any

from stored import Figures, load, number, select, stored_tables, table, triple


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
