"""What a site does with its own exams, behind its own door: rate them, keep those that can be trusted, train.

Nothing here gives an image, a mask or the stars of an exam away: `flower_apps` sends weights and counts.
"""

import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from planes import take_training_planes
from torch import Tensor

from dqe_loss import Surrogate, load_surrogate
from dqe_loss.data.exam_files import ExamPaths
from dqe_loss.data.exams import read_exam
from dqe_loss.outputs import write_together
from dqe_loss.rate.rate_exam import rate_exam
from dqe_loss.surrogate.describe import star_unit
from dqe_loss.task import MODALITIES

DEVIATIONS = 4.0
"""How many standard deviations (a robust estimate) of the site's own stars an exam may lie from their median."""
LEAST = 0.25
"""Stars that an exam may always lie from the median: less than a rater can tell is no reason to lose an exam."""


@dataclass(frozen=True, eq=False)
class Site:
    """A site's exams, in the order of its table.

    Attributes:
        table: a row for each exam: exam, mask, stars per view, mean.
        images: planes of each exam, (N, 4, H, W).
        targets: their regions as the site's masks have them, (N, 3, H, W).
    """

    table: pd.DataFrame
    images: tuple[Tensor, ...]
    targets: tuple[Tensor, ...]


@cache
def open_site(folder: Path, checkpoint: str) -> Site:
    """Read and rate all exams of a site, once; stars are written to ``stars.csv`` in its folder.

    Args:
        folder: has ``exams.csv`` with the columns exam, t1c, t1, t2, flair, mask (paths).
        checkpoint: what rates.

    Raises:
        ValueError: a file cannot be used.
        OSError: a file cannot be read or written.
    """
    surrogate = load_surrogate(checkpoint)
    rows, images, targets = [], [], []
    for row in pd.read_csv(folder / "exams.csv").to_dict("records"):
        stars, planes, regions = open_exam(row, surrogate, Path(checkpoint).stem)
        rows.append({"exam": row["exam"], "mask": row["mask"], **stars, "unit": star_unit(surrogate.config)})
        images.append(planes)
        targets.append(regions)
    table = pd.DataFrame(rows)
    write_together({folder / "stars.csv": table.to_csv(index=False).encode()})
    return Site(table, tuple(images), tuple(targets))


def open_exam(row: dict[str, str], surrogate: Surrogate, tag: str) -> tuple[dict[str, float], Tensor, Tensor]:
    """Stars per view, planes and regions of one exam; kept beside its mask, so that the next round need not wait."""
    mask = Path(row["mask"])
    kept = mask.with_name(f"{mask.name.partition('.')[0]}.{tag}.npz")
    if not kept.is_file():
        paths = ExamPaths({m: Path(row[m]) for m in MODALITIES}, (mask,), row["exam"])
        exam = read_exam(paths, label_scheme="brats23")
        ((name, labels),) = exam.segmentations.items()
        stars = rate_exam(exam, surrogate, "brats23")[name]
        planes, regions = take_training_planes(exam.image, labels)
        content = io.BytesIO()
        np.savez(content, planes=planes, regions=regions, stars=list(stars.values()), views=list(stars))
        write_together({kept: content.getvalue()})
    with np.load(kept) as read:
        stars = dict(zip(read["views"].tolist(), read["stars"].tolist(), strict=True))
        return stars, torch.from_numpy(read["planes"]), torch.from_numpy(read["regions"])


def choose_exams(site: Site, rule: str, folder: Path) -> NDArray[np.bool_]:
    """Which exams a site trains on.

    Args:
        site: the site.
        rule: ``"all"``, ``"stars"`` (those rated like the site's others), or ``"truth"`` (the oracle, which knows what
            the simulation has done to each mask).
        folder: the site's.
    """
    if rule == "all":
        return np.ones(len(site.table), bool)
    if rule == "stars":
        return rated_alike(site.table["mean"].to_numpy())
    return pd.read_csv(folder / "truth.csv")["corruption"].isna().to_numpy()


def rated_alike(stars: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which exams are rated like most of a site's, with neither a label nor another site's help.

    As long as most masks are good, the median and the median absolute deviation are those of good masks. Stars far
    above the median are as suspicious as those far below: the published surrogate rates a whole brain labeled edema
    above any tumor.

    Args:
        stars: mean stars (N,).

    Example:
        >>> rated_alike(np.array([5.0, 5.1, 4.9, 5.05, 3.2, 5.8])).tolist()
        [True, True, True, True, False, False]
    """
    distance = np.abs(stars - np.median(stars))
    spread = 1.4826 * np.median(distance)  # the standard deviation, if they are normally distributed
    return distance <= max(DEVIATIONS * spread, LEAST)
