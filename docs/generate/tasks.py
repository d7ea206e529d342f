"""How well the machinery works on a task that is not gliomas."""

from typing import Any

from stored import RESULTS, Figures, load, number, percent, table

_NAMES = {"hardened": "trained on simulated stars, hardened", "gate alone": "the gate alone", "trained": "not hardened"}
_PENDING = table(["figures"], [["not measured yet"]])


def hippocampus() -> Figures:
    """Stars of hippocampi that nothing has learned from."""
    stored = load("hippocampus.json")
    parts, settings = stored["parts"], stored["settings"]
    persons = {name: part["persons"] for name, part in parts.items()}
    return {
        "persons": str(sum(persons.values())),
        "tested": str(persons["test"]),
        "exams": str(parts["test"]["exams"]),
        "learned": str(persons["train"]),
        "chosen": str(persons["validation"]),
        "epochs": str(settings["epochs"]),
        "steps": str(settings["steps"]),
        "bad": number(settings["bad"], 1),
        "good": number(settings["good"], 1),
        "minutes": _minutes(stored["minutes"]),
        "stars": _stars(stored["checkpoints"]),
        "attacks": _attacks(stored["checkpoints"].get("hardened", {}).get("audit")),
    }


def _minutes(stages: dict[str, dict[str, float]]) -> str:
    rows = [[name, number(found["core"], 1), number(found["clock"], 1)] for name, found in stages.items()]
    return table(["stage", "minutes of a core", "by the clock"], rows)


def _stars(checkpoints: dict[str, dict[str, Any]]) -> str:
    rows = []
    for name, found in checkpoints.items():
        rows.append(
            [
                _NAMES[name],
                number(found["r"]),
                number(found["auc"]),
                f"{number(found['good_off'])} ({number(found['good_off_most'])})",
                percent(found["good_within_half"]),
                f"{number(found['reference_stars'])} ({number(found['reference_lowest'])})",
            ]
        )
    header = ["checkpoint", "r with Dice", "AUC for failures", "good masks: off by (most)", "within half a star"]
    return table([*header, "references' stars (lowest)"], rows) if rows else _PENDING


def _attacks(audit: dict[str, Any] | None) -> str:
    if audit is None:
        return _PENDING
    rows = [
        [check["what"], number(check["measured"]), number(check["limit"]), "yes" if check["passed"] else "no"]
        for check in audit["checks"]
    ]
    return table(["check", "measured", "limit", "passed"], rows)


def hippocampus_training() -> Figures:
    """What small U-Nets learn of the term, person by person."""
    if not (RESULTS / "hippocampus_training.json").is_file():
        return {"table": _PENDING}
    stored = load("hippocampus_training.json")
    rows = []
    for row in stored["rows"]:
        error = f" ± {number(row['standard_error'], 4)}" if "standard_error" in row else ""
        gain = f"{number(row['difference'], 4, sign=True)}{error}" if "difference" in row else "–"
        rows.append([row["kind"], number(row["weight"]), str(row["seeds"]), number(row["dice"], 4), gain])
    header = ["network", "weight", "seeds", "Dice", "beside Dice alone"]
    return {"table": table(header, rows)}
