"""How well the machinery works on a task that is not gliomas."""

from typing import Any

from stored import RESULTS, Figures, load, number, percent, table

_NAMES = {
    "hardened": "trained on simulated stars, hardened",
    "strict": "the same, full marks from 0.92 on",
    "gate alone": "the gate alone",
    "trained": "not hardened",
}
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
        "attacks": _attacks(stored["checkpoints"]),
        "audited": str(stored["checkpoints"]["hardened"]["audit"]["exams"]),
        "left_hardened": _left(stored["checkpoints"]["hardened"]),
        "left_gate": _left(stored["checkpoints"]["gate alone"]),
    }


def _minutes(stages: dict[str, dict[str, float]]) -> str:
    rows = [
        [name.replace("strict", "full marks from 0.92 on"), number(found["core"], 1), number(found["clock"], 1)]
        for name, found in stages.items()
    ]
    return table(["stage", "minutes of a core", "by the clock"], rows)


def _stars(checkpoints: dict[str, dict[str, Any]]) -> str:
    rows = []
    for name in (name for name in _NAMES if name in checkpoints):
        found = checkpoints[name]
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


def _attacks(checkpoints: dict[str, dict[str, Any]]) -> str:
    """The checks of each audit side by side."""
    audits = {name: found["audit"]["checks"] for name, found in checkpoints.items() if "audit" in found}
    if not audits:
        return _PENDING
    limits = {check["what"]: check["limit"] for checks in audits.values() for check in checks}
    cells = {
        name: {c["what"]: f"{number(c['measured'])}{'' if c['passed'] else ' (failed)'}" for c in checks}
        for name, checks in audits.items()
    }
    rows = [
        [what, number(limit), *(found.get(what, "–") for found in cells.values())] for what, limit in limits.items()
    ]
    return table(["check", "limit", *(_NAMES[name] for name in audits)], rows)


def _left(found: dict[str, Any]) -> str:
    """Dice that attacks leave of the expert's mask in the planes: the mean, and the lowest."""
    audit = found.get("audit")
    return "–" if audit is None else f"{number(audit['left_mean'])} ({number(audit['left_lowest'])} at the lowest)"


def hippocampus_training() -> Figures:
    """What small U-Nets learn of the term, person by person."""
    if not (RESULTS / "hippocampus_training.json").is_file():
        return {"table": _PENDING}
    stored = load("hippocampus_training.json")
    rows = []
    for row in stored["rows"]:
        gain = "–"
        if "difference" in row:
            low, high = (number(end, 4, sign=True) for end in row["interval"])
            gain = f"{number(row['difference'], 4, sign=True)} ({low} to {high})"
        rows.append([row["kind"], number(row["weight"]), str(row["seeds"]), number(row["dice"], 4), gain])
    header = ["network", "weight", "seeds", "Dice", "beside Dice alone"]
    return {"table": table(header, rows)}
