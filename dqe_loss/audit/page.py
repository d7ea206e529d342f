"""One page of HTML with all of an audit: works offline, in the dark, and on paper."""

import base64
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from dqe_loss.audit.exploitation import GUARDS, JITTERS, STARTS, shift_of
from dqe_loss.audit.parts import PARTS
from dqe_loss.audit.stars_and_dice import OWN_OR_REFERENCE, Numbers, mean
from dqe_loss.task import Task
from dqe_loss.tasks.reading import task_from_dict
from dqe_loss.viz.html import SURROGATE_TEXT, Table, TableCell, fill_template, format_number

_RULES = {">=": "at least", ">": "more than", "<=": "at most"}


def render_page(
    audit: Mapping[str, Any], figures: Mapping[str, bytes], pictures: Mapping[tuple[str, str], bytes]
) -> str:
    """Write the page.

    Args:
        audit: the content of ``audit.json``.
        figures: part to SVG.
        pictures: part and exam to PNG.

    Returns:
        HTML that needs no other file.
    """
    task = task_from_dict(audit["config"]["task"])
    parts = [
        {
            "name": name,
            "title": part["title"],
            "passed": part["passed"],
            "meaning": PARTS[name].meaning.format(subject=task.subject, around=task.around),
            "checks": [_check(check) for check in part["checks"]],
            "figure": base64.b64encode(figures[name]).decode(),
            "caption": _CAPTIONS[name].format(regions=task.list_titles(task.regions)),
            "tables": _TABLES[name](part["exams"], audit["unit"], task) if name in _TABLES else [],
            "pictures": [(exam, base64.b64encode(png).decode()) for (of, exam), png in pictures.items() if of == name],
            "picture_caption": picture_caption(name, task),
        }
        for name, part in audit["parts"].items()
    ]
    return fill_template(
        "audit.html.jinja",
        name=PurePath(audit["checkpoint"]).name,
        description=audit["description"][:1].upper() + audit["description"][1:],
        kind_text=SURROGATE_TEXT[audit["kind_of_ratings"]],
        left_out=[part.title for name, part in PARTS.items() if name not in audit["parts"]],
        audit=audit,
        task=task,
        parts=parts,
        failed=[part["title"] for part in parts if not part["passed"]],
        phantoms=all(exam["kind"] == "phantom" for exam in audit["exams"]),
    )


def picture_caption(part: str, task: Task) -> str:
    """What the pictures of a part show; nothing where it has none."""
    return _PICTURES.get(part, "").format(scan=task.title(task.modalities[0]), shift=shift_of(task))


def _check(check: Numbers) -> dict[str, Any]:
    return {
        "what": check["what"],
        "measured": format_number(check["measured"]),
        "unguarded": None if check["unguarded"] is None else format_number(check["unguarded"]),
        "limit": f"{_RULES[check['rule']]} {check['limit']:g}".replace("-", "−"),
        "where": check["where"],
        "source": check["source"],
        "passed": check["passed"],
    }


def _absurd_tables(exams: Mapping[str, Numbers], unit: str, task: Task) -> list[Table]:
    tables = []
    for exam, numbers in exams.items():
        rows: list[list[Any]] = [
            ["reference", *[TableCell(format_number(numbers["reference"]))] * 2, *[TableCell("1.00")] * 2]
        ]
        for name, mask in numbers["masks"].items():
            keys = ("own", "reference", "dice", "volume_dice")
            rows.append([name, *(TableCell(format_number(mask[key])) for key in keys)])
        columns = ["", "own center", "reference's center", "Dice in its planes", "Dice 3D"]
        caption = f"{exam}: {unit} through either center, and mean Dice of {', '.join(task.regions)}"
        tables.append(Table(caption, columns, rows, {0}))
    return tables


def _ladder_tables(exams: Mapping[str, Numbers], unit: str, task: Task) -> list[Table]:
    names = list(dict.fromkeys(name for numbers in exams.values() for name in numbers["ladders"]))
    rows: list[list[Any]] = []
    for name in names:
        row: list[Any] = [name.replace("_", " ")]
        for which in OWN_OR_REFERENCE:
            rungs = [numbers["ladders"][name][which] for numbers in exams.values() if name in numbers["ladders"]]
            row += [
                TableCell(format_number(mean([rung[key] for rung in rungs]))) for key in ("spearman", "rise", "visible")
            ]
        rows.append(row)
    columns = ["", *(f"{what}, {which}" for which in OWN_OR_REFERENCE for what in ("ρ stars", "rise", "ρ Dice"))]
    caption = f"Mean over exams: Spearman's ρ of severity and {unit}, largest rise, and ρ of severity and Dice in the "
    return [Table(f"{caption}rated planes; through the mask's own and through the reference's center", columns, rows)]


def _exploitation_tables(exams: Mapping[str, Numbers], unit: str, task: Task) -> list[Table]:
    tables = []
    for exam, numbers in exams.items():
        attacks = numbers["attacks"]
        guards = list(attacks[STARTS[0]][next(iter(JITTERS))])
        for measures in _MEASURES if len(guards) > 1 else [{k: v for part in _MEASURES for k, v in part.items()}]:
            columns = ["", *(_column(name, guard, unit) for name in measures.values() for guard in guards)]
            rows: list[list[Any]] = [
                [
                    f"{start}, {planes} planes",
                    *(_before_after(attacks[start][planes][guard], key) for key in measures for guard in guards),
                ]
                for start in STARTS
                for planes in JITTERS
            ]
            note = "" if len(guards) > 1 else f"; {GUARDS[guards[0]]}"
            tables.append(Table(f"{exam}: before → after; Dice as {'/'.join(task.regions)}{note}", columns, rows))
    return tables


_MEASURES = (
    {"stars": "{unit}, soft mask", "binarized_stars": "{unit}, binarized"},
    {"planes": "Dice, rated planes", "volume": "Dice 3D"},
    {"soft_planes": "soft Dice, rated planes", "soft_volume": "soft Dice 3D"},
)
"""What is told of an attack; of two guards side by side in tables of their own."""


def _column(name: str, guard: str, unit: str) -> str:
    return name.format(unit=unit) + ("" if guard == "none" else f", {GUARDS[guard]}")


def _before_after(run: Numbers, key: str) -> TableCell:
    return _change(run, key) if key.endswith("stars") else _dice(run, key)


def _change(run: Numbers, key: str) -> TableCell:
    return TableCell(f"{run['before'][key]:.2f} → {run['after'][key]:.2f}".replace("-", "−"))


def _dice(run: Numbers, key: str) -> TableCell:
    before, after = ("/".join(f"{value:.2f}".removeprefix("0") for value in run[w][key]) for w in ("before", "after"))
    return TableCell(f"→ {after}", before)


_TABLES = {"absurd": _absurd_tables, "ladders": _ladder_tables, "exploitation": _exploitation_tables}

_CAPTIONS = {
    "absurd": "Each mask's stars above (right) or below (left) the reference's. Masks that share much of the "
    "reference in its planes, such as slightly shifted ones, are shown and not judged.",
    "ladders": "Stars as an error grows; the leftmost point is the reference.",
    "exploitation": "Above: stars as the optimizer sees them, step by step. Below: Dice of {regions} "
    "in the rated planes, before and after. Light, with open dots: a refiner's guard off.",
    "direction": "Masks with one error of severity 0.5 each, in the planes through their own center.",
    "soft": "How the stars of the reference change as it gets softer.",
    "invariance": "How far stars move with changes that make the mask neither better nor worse.",
}
_PICTURES = {
    "absurd": "The axial plane through the reference's center on {scan}, with each mask's stars through the "
    "reference's center and through its own.",
    "exploitation": "The axial plane through each mask's own center on {scan}, with the stars of the soft mask and its "
    f"mean Dice in the rated planes. From the top: {', '.join(STARTS)} (shifted: by {{shift}} voxels). Masks are cut "
    "at 0.5.",
}
