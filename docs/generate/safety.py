"""Whether stars can be trusted: trainings, masks of real networks."""

from typing import Any

from stored import Figures, load, number, select, stored_tables, table, triple

_EVALUATIONS = ("evaluation_real_exams", "evaluation_real_exams_hardened")


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
    """Masks of real networks by the published weights, and by a refiner like the default's that had not seen them."""
    exams, others = (load(f"{name}/evaluation.json")["references"]["exams"] for name in _EVALUATIONS)
    rows = []
    for name, exam in exams.items():
        found, failure = exam["correlation"]["mean"], exam["failure"]["mean"]
        rows.append([
            name,
            str(exam["segmentations"]),
            triple(found[f"dice_{region}"]["pearson"]["value"] for region in ("TC", "WT", "ET")),
            number(found["dice_mean"]["pearson"]["value"]),
            number(failure["aurc"]),
            number(others[name]["correlation"]["mean"]["dice_mean"]["pearson"]["value"]),
            number(others[name]["failure"]["mean"]["aurc"]),
            f"{number(failure['optimal'])}, {number(failure['random'])}",
        ])  # fmt: skip
    brain = max(load("audit_brainlesion/audit.json")["parts"]["absurd"]["exams"].values(), key=_edema)
    return {
        "table": table(
            [
                "exam",
                "masks",
                "published: r with Dice TC / WT / ET",
                "r with mean Dice",
                "AURC",
                "default: r with mean Dice",
                "AURC",
                "best AURC, chance",
            ],
            rows,
        ),
        "edema": number(_edema(brain), 1),
        "right": number(brain["reference"], 1),
    }


def _edema(exam: dict[str, Any]) -> float:
    """Stars of the whole brain as edema."""
    return float(exam["masks"]["brain as edema"]["own"])
