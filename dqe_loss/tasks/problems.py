"""What can be wrong with a task whose fields all have their form: names and numbers that do not fit each other."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dqe_loss.tasks.definition import SchemeLabels, Task  # which asks here, when it is made

NO_NAMES = (
    *("mask", "brain", "survey", "mean", "spread", "lowest", "exam", "segmentation", "reference", "rater", "view"),
    *("stars", "kind", "task", "scale", "warnings", "error", "label_scheme", "unit", "center", "look", "checkpoint"),
    *("labels", "dice", "repeat", "name", "tags", "comment", "seconds", "time", "stamp"),
)
"""Words with a meaning of their own in tables and options."""


SMALLEST_SIDE = 64
"""Of a field of view in voxels: refiners take no smaller planes (`dqe_loss.surrogate.refiner`)."""


class TaskError(ValueError):
    """A task cannot be used.

    Attributes:
        problems: every problem that was found, each with its cure.
    """

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


def problems_of(task: "Task", known_views: tuple[str, ...]) -> list[str]:
    """What is wrong with a task, each problem with its cure.

    Args:
        task: its values, each of the form that its field has.
        known_views: the views that there are.
    """
    found = []

    def expect(fits: bool, problem: str) -> None:
        if not fits:
            found.append(f"task {task.name!r}: {problem}")

    def known(what: str, names: set[str], of: tuple[str, ...]) -> None:
        unknown = sorted(names - set(of))
        expect(not unknown, f"{what} must name {' or '.join(of)}, got {', '.join(unknown)}")

    expect(bool(task.name) and task.name == task.name.strip(), "give it a name without blanks around it")
    for what in ("modalities", "regions", "tissues"):
        names = getattr(task, what)
        plain = all(name.strip() == name and name for name in names)
        expect(bool(names) and plain and len(set(names)) == len(names), f"{what} must be names, each once, got {names}")
    named = dict.fromkeys((task.name, *task.modalities, *task.regions, *task.tissues))
    for name in filter(_unfit, named):
        expect(False, f"{name!r} must have no line break and none of / \\ ; = in it, for files and tables are named so")
    for name in sorted(set(list(named)[1:]) & {*NO_NAMES, *known_views}):
        expect(False, f"{name} has a meaning of its own; choose another name, and say yours in titles")
    folded = [name.lower() for name in task.regions]
    expect(len(set(folded)) == len(folded), "regions must differ in more than capital letters, for tables are named so")
    known("centers", set(task.centers), task.regions)
    known("whole", {task.whole} - {""}, task.regions)
    for region, tissues in task.parts.items():
        unknown = sorted(set(tissues) - set(task.tissues))
        expect(not unknown, unknown_tissues(region, unknown, task.tissues))
        expect(bool(tissues), f"region {region} is made of nothing; name its tissues")
    expect(
        set(task.tissues) <= {tissue for tissues in task.parts.values() for tissue in tissues},
        "each tissue must be part of a region; leave out of tissues what is not rated, and keep its label",
    )
    if task.whole and task.whole in task.parts:
        fits = set(task.parts[task.whole]) == set(task.tissues)
        expect(fits, f"whole: {task.whole} must hold all tissues; leave whole out if no region does")
    expect(
        set(task.views) <= set(known_views) and 0 < len(task.views) == len(set(task.views)),
        f"views must be one or more of {', '.join(known_views)}, each once, got {task.views}",
    )
    alone = task.views == ("axial",)
    expect(alone or not task.volumes, "volumes: true says something beside views: [axial] alone; leave it out")
    sides = task.field_of_view
    expect(
        min(sides) >= SMALLEST_SIDE and not any(side % 2 for side in sides),
        f"field_of_view must be two even numbers of voxels, {SMALLEST_SIDE} or more, got {list(sides)}; smaller images "
        "are padded to it",
    )
    expect(min(task.spacing) > 0, f"spacing must be the size of a voxel in mm, above 0, got {list(task.spacing)}")
    expect(task.grid is None or min(task.grid) > 0, f"grid must be numbers of voxels above 0, got {task.grid}")
    for what in ("window", "stars"):
        pair = getattr(task, what)
        expect(pair is None or pair[0] < pair[1], f"{what} must rise, as in [0, 1], got {pair and list(pair)}")
    expect(task.error_size > 0, f"error_size must be above 0, got {task.error_size}")
    expect(task.smallest_crop >= 0, f"smallest_crop must be 0 or above, got {task.smallest_crop}")
    expect(0 < task.largest_share <= 1, f"largest_share must be above 0 and up to 1, got {task.largest_share}")
    known("bright", {task.bright} - {""}, task.modalities)
    known("contrast", set(task.contrast), task.modalities)
    two = len(task.contrast) == len(set(task.contrast)) == 2
    expect(two or not task.contrast, f"contrast must be two modalities, or left out, got {list(task.contrast)}")
    known("shown", set(task.shown), task.modalities)
    known("spurious", set(task.spurious), task.tissues)
    often = list(task.spurious.values())
    fits = not often or (min(often) >= 0 and max(often) > 0)
    expect(fits, f"spurious must be 0 or above, and one above 0, got {dict(task.spurious)}")
    for what in ("taken_for", "unenhanced"):
        pairs = getattr(task, what)
        known(what, {*pairs, *pairs.values()}, task.tissues)
    expect(bool(task.contrast) or not task.unenhanced, "unenhanced says what contrast shows: name contrast, too")
    known("colors", set(task.colors), tuple(dict.fromkeys((*task.regions, *task.tissues))))
    labeled = (name for scheme in task.schemes.values() for name in (*scheme.labels, scheme.either) if name)
    known("titles", set(task.titles), tuple(dict.fromkeys((*task.modalities, *task.regions, *task.tissues, *labeled))))
    known("files.words", set(task.files.words.values()), task.modalities)
    for name, color in task.colors.items():
        told = re.fullmatch("#[0-9a-fA-F]{6}", color)
        expect(bool(told), f"colors: {name} must be a color such as #E69F00, got {color!r}")
    for what in ("endings", "images"):
        known(f"files.{what}", set(getattr(task.files, what)), task.modalities)
    known("files.channels", set(task.files.channels), task.modalities)
    patterns = [*task.files.images.values(), *([task.files.reference] if task.files.reference else [])]
    expect(all("{exam}" in text for text in patterns), "paths in files must hold {exam}, the exam's name")
    missing = sorted(set(task.modalities) - set(task.files.images)) if task.files.images else []
    expect(not missing, f"files.images lacks {', '.join(missing)}; give a path for each modality")
    for name, scheme in task.schemes.items():
        found += [f"task {task.name!r}: label scheme {name}: {text}" for text in _scheme_problems(task, scheme)]
    return found


def unknown_tissues(region: object, wrong: Sequence[object], tissues: tuple[str, ...]) -> str:
    """What to say of a region that is made of what are no tissues."""
    found = ", ".join("nothing" if one is None else str(one) for one in wrong)
    return f"region {region} must name tissues such as {', '.join(tissues) or 'those of labels'}; got {found}"


def _unfit(name: str) -> bool:
    """Whether a name cannot stand in paths and tables."""
    return any(sign in "/\\;=" or not sign.isprintable() for sign in name)


def _scheme_problems(task: "Task", scheme: "SchemeLabels") -> list[str]:
    found = []
    if missing := [tissue for tissue in task.tissues if not scheme.labels.get(tissue)]:
        found.append(f"has no label of {', '.join(missing)}; name each tissue's")
    labels = [label for labels in scheme.labels.values() for label in labels]
    if not all(0 < label < 256 for label in labels):
        found.append(f"labels must be whole numbers from 1 to 255 (0 is background), got {labels}")
    elif twice := sorted({label for label in labels if labels.count(label) > 1}):
        found.append(f"the label {twice[0]} stands for two things; a label is of one tissue")
    if scheme.either and len(scheme.labels.get(scheme.either, ())) < 2:
        found.append(f"either: {scheme.either} must have two labels or more")
    return found
