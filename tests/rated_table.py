"""A table of rated segmentations, as `python -m dqe_loss.rate` would have written it."""

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from helpers import make_image, make_labels

from dqe_loss import MODALITIES
from dqe_loss.data.tables.rated import COLUMNS

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def rated_table(
    stars: Sequence[float], exams: Sequence[str] | None = None, unit: str = "stars", **columns: object
) -> pd.DataFrame:
    """Rows with these mean stars, NaN for an error; one segmentation an exam unless exams are named."""
    mean = np.asarray(stars, dtype=float)
    names = list(exams) if exams is not None else [f"site-{i % 3}/case-{i}" for i in range(len(mean))]
    number = pd.Series(names).groupby(names).cumcount()
    failed = np.isnan(mean)
    table = pd.DataFrame(
        {
            "exam": names,
            "segmentation": [f"seg-{n}" for n in number],
            "axial": mean - 0.5,
            "coronal": mean,
            "sagittal": mean + 0.5,
            "mean": mean,
            "spread": np.where(failed, np.nan, 1.0),
            "tc_ml": 10.0,
            "wt_ml": 30.0,
            "et_ml": 5.0,
            "warnings": "",
            "error": np.where(failed, "mask.nii.gz: truncated", ""),
            **{modality: [f"{name}/{modality}.nii.gz" for name in names] for modality in MODALITIES},
            "mask": [f"{name}/seg-{n}.nii.gz" for name, n in zip(names, number, strict=True)],
            "label_scheme": "brats23",
            "unit": unit,
            "center": "mask",
            "checkpoint": "brainlesion",
            "checkpoint_sha256": "0123456789abcdef",
        }
    )
    return table[list(COLUMNS)].assign(**columns)


def write_exams(folder: Path, table: pd.DataFrame) -> None:
    """The tiny images and masks that the table names."""
    for seed, (exam, rows) in enumerate(table.groupby("exam", sort=False)):
        (folder / str(exam)).mkdir(parents=True, exist_ok=True)
        for modality, channel in zip(MODALITIES, make_image(seed=seed), strict=True):
            nib.Nifti1Image(channel.astype(np.int16), LPS).to_filename(folder / str(exam) / f"{modality}.nii.gz")
        for i, mask in enumerate(rows["mask"]):
            nib.Nifti1Image(np.roll(make_labels(), 2 * i, 0), LPS).to_filename(folder / mask)
