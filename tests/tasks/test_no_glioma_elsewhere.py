"""What is rated is said once: no line of the package but the built-in task names a region or scan of gliomas."""

import re
from pathlib import Path

import dqe_loss
from dqe_loss.task import GLIOMA

PACKAGE = Path(dqe_loss.__file__).parent
BUILT_IN = ("tasks/glioma", "data/phantom/", "collect/static/niivue.js")
"""The built-in task, its synthetic exams, and what is not ours."""

SCANS = ("T1c", "T1", "T2", "T1n", "FLAIR", "t1n", "t2w", "t2f")
NAMES = re.compile(rf"\b(?:{'|'.join((*GLIOMA.regions, *GLIOMA.modalities, *SCANS, 'tc_ml', 'wt_ml', 'et_ml'))})\b")
TISSUES = re.compile(r"necro|edema|enhancing", re.IGNORECASE)


def test_no_line_outside_the_built_in_task_names_gliomas():
    lines = [
        f"{path.relative_to(PACKAGE)}:{number}: {line.strip()}"
        for ending in ("py", "jinja", "js")
        for path in sorted(PACKAGE.rglob(f"*.{ending}"))
        if not path.relative_to(PACKAGE).as_posix().startswith(BUILT_IN)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if NAMES.search(line) or TISSUES.search(line)
    ]
    assert lines == []


def test_the_count_would_find_one():
    assert NAMES.search("regions in the order TC, WT, ET")
    assert NAMES.search('("t1c", "t1")')
    assert TISSUES.search("whole brain as edema")
