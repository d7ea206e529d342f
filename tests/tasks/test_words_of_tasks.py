"""Pages are in the words of their task."""

from small_tasks import CT, FLAT, SLICES

from dqe_loss.audit.parts import PARTS as AUDIT_PARTS
from dqe_loss.data.tables.warning_kinds import KINDS
from dqe_loss.evaluate.report import _of_ratings
from dqe_loss.task import GLIOMA, Task
from dqe_loss.tasks.command import describe_task
from dqe_loss.tasks.reading import task_to_dict

ORGAN = Task("organ", ("ct",), ("liver",), ("liver",), subject="liver")


def meaning(part: str, task: Task) -> str:
    return AUDIT_PARTS[part].meaning.format(subject=task.subject, around=task.around)


def test_an_audit_speaks_of_what_is_segmented():
    told = meaning("absurd", GLIOMA)
    assert "the whole brain as one tissue" in told
    assert "another patient's tumor, the right tumor in the wrong place" in told
    for part in AUDIT_PARTS:
        assert "tumor" not in meaning(part, ORGAN)
        assert "brain" not in meaning(part, ORGAN)
    assert "the whole body as one tissue" in meaning("absurd", ORGAN)
    assert "a crop around the liver" in meaning("invariance", ORGAN)


def test_an_evaluation_names_who_judges():
    for task, experts in ((GLIOMA, "neuroradiologists"), (ORGAN, "experts")):
        told = _of_ratings({"config": {"task": task_to_dict(task)}, "ratings": {"kind": "metric"}})
        assert f"how {experts} would judge" in told


def test_kinds_of_warnings_are_those_of_any_task():
    assert not any("tumor" in kind.meaning for kind in KINDS.values())


def test_a_task_says_what_is_rated():
    rated = [describe_task(task).splitlines()[1] for task in (CT, SLICES, FLAT)]
    assert rated == [
        "rated: axial, coronal, sagittal planes of volumes, through the center of organ; field of view 64 x 64 voxels",
        "rated: axial planes of volumes, through the center of organ; field of view 64 x 64 voxels",
        "rated: 2D images; field of view 64 x 64 voxels",
    ]
