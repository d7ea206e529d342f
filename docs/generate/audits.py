"""Audits: of both checkpoints on phantoms, and of refiners like the default's on real exams that they had not seen."""

from typing import Any

from stored import Figures, load, number, table

GROUPS = {"2013": "2013", "CBICA": "CBICA", "TCIA01": "TCIA01", "BraTS2021": "BraTS2021", "first": "first three"}
_VERDICT = {True: "passed", False: "**failed**", None: "–"}
Parts = dict[str, Any]


def audits() -> Figures:
    """Verdicts, and the figure behind each."""
    phantoms = [load(f"audit_{name}/audit.json") for name in ("brainlesion", "hardened")]
    real = {group: load(f"audit_exams/{group}/audit.json") for group in GROUPS}
    kinds: list[Parts] = [audit["parts"] for audit in (*phantoms, *real.values())]
    titles = {key: part["title"] for parts in kinds for key, part in parts.items()}
    header = ["part", "published weights", "default", *GROUPS.values()]
    return {
        "verdicts": table(
            header,
            (
                [title, *(_VERDICT[parts.get(part, {}).get("passed")] for parts in kinds)]
                for part, title in titles.items()
            ),
        ),
        "checks": table(
            ["check", "limit", *header[1:]],
            (row for part in titles for row in _checks([parts.get(part) for parts in kinds])),
        ),
        "exams": str(sum(len(audit["exams"]) for audit in real.values())),
    }


def _checks(parts: list[Parts | None]) -> list[list[str]]:
    """A row for each check of a part, by every checkpoint; those that failed in bold."""
    told = next(part for part in reversed(parts) if part is not None)["checks"]
    rows = []
    for place, check in enumerate(told):
        what = check["what"].removesuffix(", refiner's guard on")
        limit = f"{check['rule'].replace('>=', '≥').replace('<=', '≤')} {check['limit']:g}".replace("-", "−")
        rows.append([what, limit, *(_value(None if part is None else part["checks"][place]) for part in parts)])
    return rows


def _value(check: Parts | None) -> str:
    """What was measured, and in brackets the same without the refiner's guard."""
    if check is None:
        return "–"
    value = number(check["measured"])
    off = check.get("unguarded")
    return (value if check["passed"] else f"**{value}**") + ("" if off is None else f" ({number(off)})")
