"""Does the rating know where the error is? Share of saliency that falls on the true error, by kind of error.

Run: ``python benchmarks/saliency.py --views axial --exam FOLDER ...`` (two phantoms come first). Each mask is a
corrupted reference, or another segmentation of the exam. Chance is the error's share of the area of brain and labels;
a lift is share / chance. As a map may gain by lying near the tumor alone, it stands beside two that know nothing of
errors: the outline of the mask, and a network with random weights. Beside the share stands the direction: how much of
the gradient asks for a change of the label on the error, and how much where the label is right. ``--patch 16`` adds
the rise of the stars after patches were relabeled (300 passes a plane). Finished exams are kept in the JSON file.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from _cells import Result, run_cells, with_checkpoint
from _options import FirstReference, MoreExams
from _references import PHANTOM, REFERENCES, exam_name
from _report import markdown_table
from _saliency import SaliencyCell, measure_exam

from dqe_loss import VIEWS
from dqe_loss.data.corruption import CORRUPTIONS
from dqe_loss.options import CheckpointName

DEFAULT = "change, smoothed 2"
"""Reading that ``--explain`` shows."""
BASELINES = ("outline of the mask, no network", "random weights")


@dataclass(frozen=True)
class SaliencyOptions:
    """Options of the command line."""

    exam: MoreExams = ()
    reference: FirstReference = REFERENCES
    phantoms: int = 2
    """Number of phantoms."""
    kinds: tuple[str, ...] = tuple(CORRUPTIONS)
    """Corruptions."""
    severity: float = 0.5
    """Severity of each, in (0, 1]."""
    views: tuple[str, ...] = VIEWS
    """Views."""
    checkpoint: CheckpointName = "brainlesion"
    smoothgrad: bool = False
    """Whether to try SmoothGrad too, at eight times the cost."""
    patch: int = 0
    """Edge in voxels of relabeled patches; 0 leaves them out."""
    workers: int = 1
    """Processes."""
    out: Path = Path("benchmarks/results/saliency")
    """Folder for the JSON file and the table."""


def main(options: SaliencyOptions) -> None:
    """Measures the exams that are missing and prints the tables."""
    sources = [f"{PHANTOM}-{seed}" for seed in range(options.phantoms)] + [str(folder) for folder in options.exam]
    names = ("kinds", "severity", "views", "checkpoint", "smoothgrad", "patch")
    shared = {"references": options.reference} | {name: getattr(options, name) for name in names}
    cells = [SaliencyCell(source, **shared) for source in sources]
    settings = {key: list(value) if isinstance(value, tuple) else value for key, value in shared.items()}
    results = run_cells(
        measure_exam,
        {exam_name(cell.source): cell for cell in cells},
        path=options.out / "saliency.json",
        settings=with_checkpoint(settings),
        steps=lambda cell: len(cell.kinds) + 1,
        workers=options.workers,
    )
    chosen = [results[exam_name(cell.source)] for cell in cells]
    phantoms, exams = chosen[: options.phantoms], chosen[options.phantoms :]
    parts = [
        f"{title}\n\n{table}"
        for what, group in (("phantoms", phantoms), ("real exams", exams))
        if group
        for title, table in (
            (f"Readings, {what}", markdown_table(_readings(_records(group)))),
            (f"`{DEFAULT}` by kind of error, {what}", markdown_table(_kinds(_records(group)))),
        )
    ]
    text = "\n\n".join(parts) + "\n"
    (options.out / "table.md").write_text(text)
    print(text)


def _records(results: list[Result]) -> list[dict[str, Any]]:
    """All records; where there is no gradient, shares are NaN, which the JSON file holds as null."""
    return [
        {key: math.nan if value is None else value for key, value in record.items()}
        for result in results
        for record in result["records"]
    ]


def _readings(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each reading, over all planes."""
    return [
        {"reading": reading} | _summary([record for record in records if record["reading"] == reading])
        for reading in dict.fromkeys(record["reading"] for record in records)
    ]


def _kinds(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each kind of error, of the default reading, with the baselines' lifts and the direction."""
    rows = []
    for kind in dict.fromkeys(record["kind"] for record in records):
        of_kind = [record for record in records if record["kind"] == kind]
        chosen = [record for record in of_kind if record["reading"] == DEFAULT]
        row = {"error": kind} | _summary(chosen)
        for baseline in BASELINES:
            row[f"lift, {baseline}"] = _summary([r for r in of_kind if r["reading"] == baseline])["lift"]
        for key in ("toward change on the error", "toward change elsewhere"):
            row[key] = float(np.nanmean([record[key] for record in chosen]))
        rows.append(row)
    return rows


def _summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over planes; a map that is 0 everywhere (NaN) points at nothing and has chance."""
    chance = [record["chance"] for record in records]
    share = [c if np.isnan(s) else s for s, c in zip([r["share"] for r in records], chance, strict=True)]
    mean, by_chance = float(np.mean(share)), float(np.mean(chance))
    return {"planes": len(records), "share": mean, "chance": by_chance, "lift": mean / by_chance}


if __name__ == "__main__":
    main(tyro.cli(SaliencyOptions, description=__doc__))
