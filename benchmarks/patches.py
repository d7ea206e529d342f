"""Stars of a crop against those of the whole mask: the padded crop, and the crop placed by ``origin=``.

Run: ``python benchmarks/patches.py --exams FOLDER ...`` (the phantom without). Crops are centered on random
tumor voxels, as MONAI's RandCropByPosNegLabeld does it, and moved into the volume. The prediction is the
reference, or one error all over it (eroded, shifted); outside of the crop ``origin=`` sees the reference, as
in training. All are compared with the rating of the whole predicted mask. "follows" is the share of crops
whose stars move the same way as the whole mask's when the reference is degraded: what a gradient needs.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from _options import ResultFile, Threads
from _references import read_with_references
from _report import machine, markdown_table, write_json
from scipy.ndimage import binary_erosion
from torch import Tensor
from tqdm import tqdm

from dqe_loss import DQELoss, load_surrogate, regions_from_labels
from dqe_loss.core.boxes import box_around
from dqe_loss.data.exams import Exam
from dqe_loss.options import CheckpointName
from dqe_loss.surrogate.checkpoint import fingerprint

Labels = np.ndarray[Any, np.dtype[Any]]
WAYS = ("padded", "origin")


@dataclass(frozen=True)
class PatchesOptions:
    """Options of the command line."""

    exams: tuple[Path, ...] = ()
    """Folders of exams; the phantom if none."""
    references: tuple[str, ...] = ()
    """For each exam the name of its reference, the end of the name or a pattern; the first of each if not given."""
    sizes: tuple[int, ...] = (64, 96, 128, 160)
    """Edges of the crops in voxels; an axis shorter than that is taken whole."""
    checkpoint: CheckpointName = "brainlesion"
    crops: int = 16
    """Random positions per exam and size."""
    erosion: int = 2
    """Voxels taken off each region's surface."""
    shift: int = 8
    """Voxels that the mask is moved along the first axis."""
    seed: int = 0
    """Seed of the positions."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """Where to rate."""
    threads: Threads = None
    json: ResultFile = Path("benchmarks/results/patches.json")


def main(settings: PatchesOptions) -> None:
    """Measures, prints the tables and writes the JSON."""
    torch.set_num_threads(settings.threads or torch.get_num_threads())
    device = torch.device(settings.device)
    # the loss as it trains, on probabilities: every crop gets a rating, whether or not training would skip it
    surrogate = load_surrogate(settings.checkpoint)
    loss = DQELoss(surrogate, sigmoid=False, softmax=False, guard=None, on_small="pad").to(device)
    records = [
        record
        for exam, reference in read_with_references(settings.exams, settings.references, 1)
        for record in _rate_crops(loss, exam, exam.segmentations[reference], settings)
    ]
    table = _summary(records)
    whole = sorted({(r["exam"], r["prediction"], r["whole"]) for r in records})
    columns = ("exam", "prediction", "stars of the whole mask")
    print(markdown_table([dict(zip(columns, row, strict=True)) for row in whole]))
    print("", markdown_table(table), "", machine(), sep="\n")
    said = asdict(settings) | {"checkpoint_sha256": fingerprint(surrogate)}
    write_json(settings.json, {"settings": said, "machine": machine(), "summary": table, "crops": records})


def _rate_crops(loss: DQELoss, exam: Exam, labels: Labels, settings: PatchesOptions) -> list[dict[str, Any]]:
    """One record per size, position, prediction: stars of the whole mask, of the padded crop, by origin."""
    errors: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "reference": lambda region: region,
        f"eroded {settings.erosion}": lambda region: binary_erosion(region, iterations=settings.erosion),
        f"shifted {settings.shift}": lambda region: np.roll(region, settings.shift, axis=0),
    }
    image = torch.from_numpy(exam.image)[None].to(settings.device)
    target = torch.from_numpy(labels)[None, None].to(image.device)
    regions = regions_from_labels(target)[0].cpu().numpy()
    predictions = {name: _degraded(regions, error).to(image.device) for name, error in errors.items()}
    whole = {name: _stars(loss, prediction, image) for name, prediction in predictions.items()}
    rng = np.random.default_rng(settings.seed)
    tumor = np.argwhere(labels > 0)
    records = []
    for size, _ in tqdm([(s, i) for s in settings.sizes for i in range(settings.crops)], desc=exam.name):
        box = box_around(tumor[rng.integers(len(tumor))].tolist(), size, labels.shape)
        origin = tuple(part.start for part in box)
        share = float((labels[box] > 0).sum() / len(tumor))
        for name, prediction in predictions.items():
            crop, crop_image = prediction[(..., *box)], image[(..., *box)]
            stars = {
                "padded": _stars(loss, crop, crop_image),
                "origin": _stars(loss, crop, image, target=target, origin=origin),
            }
            record = {"exam": exam.name, "size": size, "corner": origin, "tumor inside": share, "prediction": name}
            records.append(record | {"whole": whole[name], "whole reference": whole["reference"], **stars})
    return records


def _degraded(regions: np.ndarray, error: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """The same error on each region, as probabilities 0 and 1 (1, 3, X, Y, Z); nested regions stay nested."""
    return torch.from_numpy(np.stack([error(region) for region in regions])[None].astype(np.float32))


def _stars(loss: DQELoss, prediction: Tensor, image: Tensor, **placement: Any) -> float:
    with torch.no_grad():
        return float(loss.rate(prediction, image=image, **placement).mean())


def _summary(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per size and prediction over all exams and positions."""
    groups: dict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        groups[record["size"], record["prediction"]].append(record)
    reference = {(r["exam"], r["size"], r["corner"]): r for r in records if r["prediction"] == "reference"}
    rows = []
    for (size, prediction), group in groups.items():
        row: dict[str, Any] = {"crop": f"{size}^3", "prediction": prediction, "crops": len(group)}
        row["tumor inside, %"] = 100 * statistics.mean(r["tumor inside"] for r in group)
        for way in WAYS:
            off = [r[way] - r["whole"] for r in group]
            row |= {f"{way}: mean abs. d": statistics.mean(map(abs, off)), f"{way}: worst d": max(off, key=abs)}
            if prediction != "reference":
                before = [reference[r["exam"], r["size"], r["corner"]][way] for r in group]
                moves = [(r["whole"] - r["whole reference"], r[way] - b) for r, b in zip(group, before, strict=True)]
                same = [wanted * moved > 0 for wanted, moved in moves]
                row[f"{way}: follows, %"] = 100 * statistics.mean(same)
        rows.append(row)
    return rows


if __name__ == "__main__":
    main(tyro.cli(PatchesOptions, description=__doc__))
