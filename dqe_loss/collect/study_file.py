"""A study as one file that a report can cite: ``study.yaml``."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from dqe_loss.collect.study import Case, Study, StudyDesign
from dqe_loss.data.tables.table import absolute_path, relative_path
from dqe_loss.outputs import encode, write_together
from dqe_loss.task import BUILT_IN, GLIOMA, Task
from dqe_loss.tasks.reading import task_from_dict, task_to_dict

STUDY = "study.yaml"
FORMAT = 2
READ = (1, 2)
"""Formats that this program reads; the first one's stamps know only the sizes of images."""


def is_begun(folder: Path) -> bool:
    """Whether a folder holds a study."""
    return (folder / STUDY).is_file()


def write_study(study: Study, folder: Path) -> None:
    """Write ``study.yaml`` atomically and for good, with paths relative to its folder."""
    task = study.design.task
    content = {
        "format": FORMAT,
        "created": study.created,
        "versions": dict(study.versions),
        "task": task.name if task == BUILT_IN.get(task.name) else task_to_dict(task),
        **design_values(study.design),
        "raters": list(study.raters),
        "batches": list(study.batches),
        "reordered": [{**one, "stars": relative_path(one["stars"], folder)} for one in study.reordered],
        "training": [_case_values(case, folder) for case in study.training],
        "cases": [_case_values(case, folder) for case in study.cases],
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)
    write_together({folder / STUDY: encode(text)}, lasting=True)


def read_study(folder: Path) -> Study:
    """Read ``study.yaml``.

    Raises:
        ValueError: it is not there, damaged, or of a later version of this program.
    """
    path = folder / STUDY
    if not is_begun(folder):
        raise ValueError(f"{folder}: expected a study ({STUDY}), found none; begin one with dqe collect --data")
    try:
        # The C loader, where there is one, is ten times as fast on hundreds of cases.
        content = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        if content["format"] not in READ:
            raise ValueError(f"its format is {content['format']}, this program knows {FORMAT}")
        task = _read_task(content.get("task"))
        named = {one.name: content[one.name] for one in fields(StudyDesign) if one.name != "task"}
        design = StudyDesign(**named | {"tags": tuple(content["tags"]), "task": task})
        cases, training = ([_read_case(one, folder, task) for one in content[key]] for key in ("cases", "training"))
        if sum(content["batches"]) != len(cases):
            raise ValueError("its batches do not add up to its cases")
        return Study(
            design,
            tuple(cases),
            tuple(content["batches"]),
            tuple(training),
            tuple(content["raters"]),
            content["versions"],
            content["created"],
            tuple({**one, "stars": absolute_path(one["stars"], folder)} for one in content.get("reordered", ())),
        )
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{path}: cannot be read ({reason}); restore it from a backup, the journals need it"
        ) from error


def design_values(design: StudyDesign) -> dict[str, Any]:
    """How a study asks, as YAML has it; all but the task."""
    values = {one.name: getattr(design, one.name) for one in fields(design) if one.name != "task"}
    return values | {"tags": list(design.tags)}


def _read_task(stored: Any) -> Task:
    """The task: a name is that of a built-in one; studies of before there were tasks say nothing."""
    if stored is None:
        return GLIOMA
    if isinstance(stored, Mapping):
        return task_from_dict(stored)
    if stored not in BUILT_IN:
        raise ValueError(f"its task {stored!r} is not one of {', '.join(BUILT_IN)}")
    return BUILT_IN[stored]


def _case_values(case: Case, folder: Path) -> dict[str, Any]:
    paths = {**case.images, "mask": case.mask}
    relative = {name: relative_path(path, folder) for name, path in paths.items()}
    return {"exam": case.exam, "segmentation": case.segmentation, **relative, "stamp": case.stamp}


def _read_case(values: Mapping[str, Any], folder: Path, task: Task) -> Case:
    images = {modality: absolute_path(values[modality], folder) for modality in task.modalities}
    return Case(values["exam"], values["segmentation"], images, absolute_path(values["mask"], folder), values["stamp"])
