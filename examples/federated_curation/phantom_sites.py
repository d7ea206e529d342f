"""Lay out a federation of phantoms: what lies at each site, and what is wrong with it."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from dqe_loss.data.corruption import CORRUPTIONS, corrupt
from dqe_loss.data.exam_files import ExamPaths
from dqe_loss.data.exams import read_exam
from dqe_loss.data.phantom.files import phantom_paths, write_phantom
from dqe_loss.data.write_nifti import nifti_bytes
from dqe_loss.outputs import write_together
from dqe_loss.task import MODALITIES

MIXED = "mixed"
"""The kind of error that is any of them."""
KINDS = (*CORRUPTIONS, MIXED)


@dataclass(frozen=True)
class Federation:
    """Where the sites are.

    Attributes:
        kind: kind of error of the corrupted masks.
        seed: which exams lie where, which are corrupted and how.
        folder: has a folder for each site, ``site-0`` and so on, the last one with errors.
    """

    kind: str
    seed: int
    folder: Path


def write_exams(count: int, out: Path) -> None:
    """Draw phantoms 0, 1, ... (about 2.5 s each); those that are there are left."""
    for seed in tqdm(range(count), "drawing phantoms", dynamic_ncols=True):
        write_phantom(seed, out)


def lay_out(kind: str, seed: int, sizes: Sequence[int], share: float, severity: float, out: Path) -> Federation:
    """Deal phantoms to the sites, and corrupt a share of the last site's masks.

    The same seed deals the same exams and corrupts the same of them, whatever the kind.

    Args:
        kind: name of a corruption, or ``"mixed"`` for one drawn for each mask.
        seed: source of all randomness.
        sizes: number of exams of each site.
        share: of the last site's exams.
        severity: of the errors, in (0, 1].
        out: folder of the simulation; the phantoms are in ``phantoms``.
    """
    rng = np.random.default_rng(seed)
    dealt = np.split(rng.permutation(sum(sizes)), np.cumsum(sizes)[:-1])
    wrong = set(rng.choice(dealt[-1], round(share * sizes[-1]), replace=False).tolist())
    folder = out / kind / f"seed-{seed}"
    for number, exams in enumerate(dealt):
        site = folder / f"site-{number}"
        site.mkdir(parents=True, exist_ok=True)
        rows = []
        for exam in sorted(exams.tolist()):
            paths = phantom_paths(exam, out / "phantoms")
            row = {"exam": paths.name, **{m: str(paths.images[m]) for m in MODALITIES}}
            mask, corruption = paths.segmentations[0], None
            if exam in wrong:
                draw = np.random.default_rng([seed, exam, zlib.crc32(kind.encode())])
                corruption = kind if kind != MIXED else str(draw.choice(list(CORRUPTIONS)))
                mask = site / f"{paths.name}-seg.nii.gz"
                if not mask.is_file():
                    other = phantom_paths(int(draw.choice(dealt[0])), out / "phantoms")
                    write_wrong_mask(paths, other, corruption, severity, draw, mask)
            rows.append({**row, "mask": str(mask), "corruption": corruption})
        table = pd.DataFrame(rows)
        # What the site knows, and what only the simulation knows.
        write_together({
            site / "exams.csv": table.drop(columns="corruption").to_csv(index=False).encode(),
            site / "truth.csv": table[["exam", "corruption"]].to_csv(index=False).encode(),
        })  # fmt: skip
    return Federation(kind, seed, folder)


def write_wrong_mask(
    paths: ExamPaths, other: ExamPaths, corruption: str, severity: float, rng: np.random.Generator, mask: Path
) -> None:
    """Corrupt an exam's reference, and write it as the site's mask."""
    exam, source = (read_exam(p, label_scheme="brats23") for p in (paths, other))
    ((_, labels),), ((_, foreign),) = exam.segmentations.items(), source.segmentations.items()
    brain = (exam.image != 0).any(0)
    wrong = corrupt(labels, [(corruption, severity)], rng=rng, brain=brain, other=foreign)
    write_together({mask: nifti_bytes(wrong, exam.affine)})
