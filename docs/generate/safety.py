"""Whether stars can be trusted: trainings, masks of real networks."""

from typing import Any

from stored import Figures, load, number, select, stored_tables, table, triple


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
