"""Tiny rated exams for the tests of training and evaluation."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from helpers import make_image, make_labels

from dqe_loss import MODALITIES
from dqe_loss.data.tables.ratings import write_ratings

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_rated_exams(folder: Path, exams: int = 6, raters: tuple[str, ...] = ("ann", "bob")) -> Path:
    """Exams of 32x28x24 voxels with two segmentations each, and simulated ratings of all views; returns the table."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(exams):
        place = folder / f"exam-{number}"
        place.mkdir(parents=True)
        paths = {modality: str(place / f"{modality}.nii.gz") for modality in MODALITIES}
        for path, channel in zip(paths.values(), make_image(seed=number), strict=True):
            nib.Nifti1Image(channel.astype(np.int16), LPS).to_filename(path)
        for name, shift in (("good", 0.0), ("bad", 0.15)):
            segmentation = str(place / f"seg-{name}.nii.gz")
            labels = make_labels(center=(0.1 - 0.04 * number + shift, -0.1 + shift, 0.05))
            nib.Nifti1Image(labels, LPS).to_filename(segmentation)
            stars = (5, 6) if name == "good" else (2, 4)
            rows += [
                {"exam": place.name, "segmentation": segmentation, **paths, "rater": rater, "view": ""}
                | {"stars": float(rng.integers(*stars, endpoint=True)), "kind": "simulated"}
                for rater in raters
            ]
    write_ratings(pd.DataFrame(rows), folder / "ratings.csv")
    return folder / "ratings.csv"
