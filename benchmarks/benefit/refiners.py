"""The refiners of the study, taught by ``dqe harden`` on persons who are neither labelled, unlabelled nor tested."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
from persons import ROOT, Exam, Parts, of_persons

STEPS, STEPS_ON_FEW = 1500, 600


def teach(name: str, exams: list[Exam], steps: int, work: Path) -> Path:
    """Teach a refiner of a checkpoint without a network; one that is there is taken as it is.

    Args:
        name: of its folder.
        exams: those it learns from.
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
        for e in exams
    ]
    pd.DataFrame(rows).to_csv(table, index=False)
    command = [
        *(sys.executable, "-m", "dqe_loss", "harden", "--task", ROOT / "examples" / "tasks" / "hippocampus.yaml"),
        *("--checkpoint", "none", "--exams", table, "--out", folder, "--cache", work.resolve() / "refiners" / "exams"),
        *("--phantoms", "0", "--no-natural", "--errors", "12", "--steps", steps, "--exponent", "1"),
        *("--full-marks", "0.92", "--survey-full-marks", "0.92", "--save-every", "500", "--workers", "0"),
        *(["--resume"] if (folder / "state.pt").is_file() else []),
    ]
    subprocess.run(list(map(str, command)), check=True, cwd=ROOT)
    return checkpoint


def loss_checkpoint(setting: str, exams: list[Exam], parts: dict[str, Parts], work: Path) -> Path:
    """The refiner in the loss."""
    return teach(setting, of_persons(exams, parts[setting].teaching), STEPS, work)


def judge_checkpoint(setting: str, exams: list[Exam], parts: dict[str, Parts], work: Path) -> Path:
    """The second one, which only judges."""
    return teach(f"{setting}-judge", of_persons(exams, parts[setting].judge), STEPS, work)


def checkpoint_of(
    arm: str, setting: str, labelled: list[int], exams: list[Exam], parts: dict[str, Parts], work: Path
) -> Path:
    """The refiner of an arm's loss: of its setting, or of the labelled persons alone (d0)."""
    if arm == "d0":
        name = "labelled-" + "-".join(map(str, sorted(labelled)))
        return teach(name, of_persons(exams, labelled), STEPS_ON_FEW, work)
    return loss_checkpoint(setting, exams, parts, work)
