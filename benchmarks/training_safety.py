"""Does the loss do a network good or harm? A small 2D U-Net, trained on planes, tested on an exam it never saw.

Run: ``python benchmarks/training_safety.py --exams FOLDER_OF_EXAMS`` (the phantoms come with it). Dice alone
against Dice + w * DQELoss, for several weights, with the defaults (guard, balance, warm-up) and with each of them,
and all, switched off; each from several seeds, which share the initial weights and the order of planes. A finished
training is kept in ``trainings.json``, and a run that was stopped goes on from there.
"""

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import tyro
from _cells import run_cells, with_checkpoint
from _options import FirstReference
from _planes_data import Split
from _planes_table import results_table, verdict
from _planes_training import VARIANTS, PlanesTrainingSettings, Training, run_training
from _references import PHANTOM, REFERENCES, exam_name


@dataclass(frozen=True)
class TrainingSafetyOptions:
    """Options of the command line."""

    exams: Path | None = None
    """Folder of exam folders: all but one to train on, and one to test on."""
    test: str | None = None
    """Name of the exam to test on; the last by name if not given."""
    reference: FirstReference = REFERENCES
    phantom_train: tuple[int, ...] = (1, 2, 3, 4)
    """Seeds of the phantoms to train on; none to leave the phantoms out."""
    phantom_test: int = 0
    """Seed of the phantom to test on."""
    weights: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0)
    """Weights of the surrogate's term."""
    variants: tuple[str, ...] = VARIANTS
    """What to switch off: "defaults" (nothing), "no guard", "no balance", "no warm-up", "none of them"."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the trainings."""
    workers: int = max(1, os.cpu_count() or 1)
    """Processes; each takes about 1.5 GiB."""
    out: Path = Path("benchmarks/results/training_safety")
    """Folder for the JSON file and the tables."""
    training: PlanesTrainingSettings = field(default_factory=PlanesTrainingSettings)
    """What every training depends on."""


def main(options: TrainingSafetyOptions) -> None:
    """Runs the trainings that are missing and prints the tables.

    Raises:
        ValueError: if a variant is unknown, or there are not enough exams.
    """
    trainings = plan(options)
    path = options.out / "trainings.json"
    results = run_cells(
        run_training,
        {training.name: training for training in trainings},
        path=path,
        settings=with_checkpoint(asdict(options.training)),
        steps=lambda training: training.steps,
        workers=options.workers,
    )
    text = []
    for split in dict.fromkeys(training.split for training in trainings):
        chosen = [results[t.name] for t in trainings if t.split == split]
        train, test = ", ".join(map(exam_name, split.train)), exam_name(split.test)
        text += [f"### {split.name}: trained on {train}, tested on {test}", results_table(chosen), verdict(chosen)]
    table = "\n\n".join(text) + "\n"
    (options.out / "table.md").write_text(table)
    print(table, path, sep="\n")


def plan(options: TrainingSafetyOptions) -> list[Training]:
    """The trainings, so ordered that those of one seed, which share a warm-up, follow each other."""
    if not set(options.variants) <= set(VARIANTS):
        raise ValueError(f"unknown variant in {options.variants}; there are {', '.join(VARIANTS)}")
    trainings = []
    for split in _splits(options):
        for seed in options.seeds:
            trainings.append(Training(split, seed, 0.0, "defaults", options.training))
            for variant in options.variants:
                for weight in options.weights:
                    trainings.append(Training(split, seed, weight, variant, options.training))
    return trainings


def _splits(options: TrainingSafetyOptions) -> list[Split]:
    splits = []
    if options.phantom_train:
        sources = tuple(f"{PHANTOM}-{seed}" for seed in options.phantom_train)
        splits.append(Split("phantoms", sources, f"{PHANTOM}-{options.phantom_test}", options.reference))
    if options.exams is not None:
        folders = sorted(folder for folder in options.exams.iterdir() if folder.is_dir())
        test = [f for f in folders if f.name == options.test] if options.test else folders[-1:]
        if len(folders) < 2 or not test:
            raise ValueError(
                f"{options.exams}: expected two exam folders or more, one of them to test on "
                f"({options.test or 'the last'}), found {', '.join(f.name for f in folders) or 'none'}"
            )
        train = tuple(str(folder) for folder in folders if folder != test[0])
        splits.append(Split("exams", train, str(test[0]), options.reference))
    if not splits:
        raise ValueError("nothing to train on: give --exams FOLDER, or seeds for --phantom-train")
    return splits


if __name__ == "__main__":
    main(tyro.cli(TrainingSafetyOptions, description=__doc__))
