"""The refiners of the study, taught by ``dqe harden`` on persons who are neither labelled, unlabelled nor tested."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
from exams import ROOT, Cohort

STEPS_ON_FEW = 600


def teach(name: str, cohort: Cohort, persons: list[int], steps: int, work: Path) -> Path:
    """Teach a refiner of a checkpoint without a network; one that is there is taken as it is.

    Args:
        name: of its folder.
        cohort: whose task and exams these are.
        persons: those it learns from.
        steps: of the teaching.
        work: the study's folder.

    Returns:
        The checkpoint.
    """
    folder = (work / "refiners" / name).resolve()
    checkpoint = folder / "surrogate.safetensors"
    if checkpoint.is_file():
        return checkpoint
    folder.mkdir(parents=True, exist_ok=True)
    table = folder.with_suffix(".csv")
    rows = [
        {"exam": e.name, "segmentation": str(e.paths.segmentations[0].resolve())}
        | {m: str(p.resolve()) for m, p in e.paths.images.items()}
        for e in cohort.of(persons)
    ]
    pd.DataFrame(rows).to_csv(table, index=False)
    command = [
        *(sys.executable, "-m", "dqe_loss", "harden", *cohort.harden, "--checkpoint", "none", "--exams", table),
        *("--out", folder, "--cache", work.resolve() / "refiners" / "exams", "--phantoms", "0", "--no-natural"),
        *("--steps", steps, "--exponent", "1", "--full-marks", "0.92", "--survey-full-marks", "0.92"),
        *("--save-every", "500", "--workers", "0"),
        *(["--resume"] if (folder / "state.pt").is_file() else []),
    ]
    subprocess.run(list(map(str, command)), check=True, cwd=ROOT)
    return checkpoint


def loss_checkpoint(setting: str, cohort: Cohort, work: Path) -> Path:
    """The refiner in the loss."""
    return teach(setting, cohort, cohort.parts[setting].teaching, cohort.steps, work)


def judge_checkpoint(setting: str, cohort: Cohort, work: Path) -> Path | str:
    """The second surrogate, which only judges: a refiner, or where nobody teaches one, the published network."""
    persons = cohort.parts[setting].judge
    return teach(f"{setting}-judge", cohort, persons, cohort.steps, work) if persons else "brainlesion"


def checkpoint_of(arm: str, setting: str, labelled: list[int], cohort: Cohort, work: Path) -> Path:
    """The refiner of an arm's loss: of its setting, or of the labelled persons alone (d0)."""
    if arm == "d0":
        return teach("labelled-" + "-".join(map(str, sorted(labelled))), cohort, labelled, STEPS_ON_FEW, work)
    return loss_checkpoint(setting, cohort, work)
