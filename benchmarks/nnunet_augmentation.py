"""Stars of expert masks as nnU-Net's training shows them, against those of the raw scans.

Run: ``python benchmarks/nnunet_augmentation.py --exams FOLDER ...`` (phantoms without). Each exam goes step by step
through what nnU-Net does before its loss: z-scores of the head, the crop to the head, a patch with tumor, and its
augmentation. The mask goes with it and stays right, so that a surrogate which minds none of this gives the same stars
at each step. Rotation with scaling, and mirrors, are also looked at by themselves, the former always; in nnU-Net's
own mix four of five patches are not rotated, nor four of five scaled, and half are mirrored along each axis.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from _options import ResultFile, Threads
from _references import read_with_references
from _report import machine, markdown_table, write_json
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero
from nnunetv2.preprocessing.normalization.default_normalization_schemes import ZScoreNormalization
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import Tensor
from tqdm import tqdm

from dqe_loss import Surrogate, load_surrogate, rate_segmentation
from dqe_loss.data.exams import Exam
from dqe_loss.integrations.nnunet.orientation import orientation_of
from dqe_loss.integrations.nnunet.transforms import keep_image, split_kept

ROTATION = (-np.pi / 6, np.pi / 6)
"""nnU-Net's range in 3D, for patches about as long along each axis."""
MASKED = (True,) * 4
TURN = orientation_of("SimpleITKIO", (0, 1, 2), 3)

Sample = dict[str, Tensor]


@dataclass(frozen=True)
class AugmentationOptions:
    """Options of the command line."""

    exams: tuple[Path, ...] = ()
    """Folders of exams; two phantoms if none."""
    references: tuple[str, ...] = ()
    """For each exam the name of its reference, the end of the name or a pattern; the first of each if not given."""
    checkpoints: tuple[str, ...] = ("hardened", "brainlesion")
    """What rates."""
    patch: int = 128
    """Edge of the patches in voxels."""
    draws: int = 4
    """Patches of each exam."""
    seed: int = 0
    """Seed of positions and augmentation."""
    threads: Threads = None
    json: ResultFile = Path("benchmarks/results/nnunet_augmentation.json")


def main(settings: AugmentationOptions) -> None:
    torch.set_num_threads(settings.threads or torch.get_num_threads())
    surrogates = {name: load_surrogate(name) for name in settings.checkpoints}
    records: list[dict[str, Any]] = []
    exams = read_with_references(settings.exams, settings.references, 2)
    for exam, reference in tqdm(exams, desc="exams", mininterval=60):
        for step, sample in _steps(exam, exam.segmentations[reference], settings):
            stars = {name: _stars(surrogate, sample) for name, surrogate in surrogates.items()}
            records.append({"exam": exam.name, "step": step, **stars})
        rows = _summary(records, settings.checkpoints)  # what there is when it is stopped is of whole exams
        said = asdict(settings) | {"exams": [folder.name for folder in settings.exams]}
        content = {"settings": said, "machine": machine(), "summary": rows, "stars": records}
        write_json(settings.json, content)
    print(markdown_table(rows), "", machine(), sep="\n")


def _steps(exam: Exam, labels: np.ndarray[Any, Any], settings: AugmentationOptions) -> Iterator[tuple[str, Sample]]:
    """Each step's name with the sample that it leaves: image (4, Z, Y, X), and labels (1, Z, Y, X)."""
    rng = np.random.default_rng(settings.seed)
    np.random.seed(settings.seed)  # nnU-Net's transforms draw from the global generators
    torch.manual_seed(settings.seed)
    image = np.ascontiguousarray(exam.image.transpose(0, 3, 2, 1), dtype=np.float32)
    mask = np.ascontiguousarray(labels.transpose(2, 1, 0)[None]).astype(np.int16)
    yield "raw", _sample(image, mask)
    cropped, cropped_mask, box = crop_to_nonzero(image, mask.copy())
    scored = np.stack([ZScoreNormalization(True, {}).run(channel.copy(), cropped_mask[0]) for channel in cropped])
    whole = np.zeros_like(image)
    whole[(slice(None), *(slice(*part) for part in box))] = scored
    yield "z-scores of the head", _sample(whole, mask)
    yield "cropped to the head", _sample(scored, cropped_mask)
    whole_steps = _augmentations(settings.patch)
    for _ in range(settings.draws):
        patch = _patch(scored, cropped_mask, settings.patch, rng)
        for name, run in whole_steps.items():
            yield name, run({key: value.clone() for key, value in patch.items()})


def _augmentations(side: int) -> Mapping[str, Callable[[Sample], Sample]]:
    size = (side,) * 3
    spatial = SpatialTransform(
        size, 0, False, p_rotation=1, rotation=ROTATION, p_scaling=1, scaling=(0.7, 1.4),
        p_synchronize_scaling_across_axes=1, border_mode_seg="constant", padding_value_seg=-1,
    )  # fmt: skip
    # It moves nothing, and cuts the patch out of its margin.
    still = SpatialTransform(size, 0, False, border_mode_seg="constant", padding_value_seg=-1)
    mix = nnUNetTrainer.get_training_transforms(size, ROTATION, None, (0, 1, 2), False, use_mask_for_norm=list(MASKED))
    return {
        "patch": _kept(ComposeTransforms([still])),
        "patch, rotated and scaled": _kept(ComposeTransforms([spatial])),
        "patch, mirrored": _kept(ComposeTransforms([still, MirrorTransform((0, 1, 2))])),
        "nnU-Net's mix, as it is rated": _kept(mix),
        "nnU-Net's mix, as the network sees it": _kept(mix, seen=True),
    }


def _kept(transform: Any, seen: bool = False) -> Callable[[Sample], Sample]:
    """The image that is kept to be rated, or that which the network sees."""
    run = keep_image(transform, MASKED)

    def step(sample: Sample) -> Sample:
        sample = run(**sample)
        image, kept = split_kept(sample["image"][None], 4)
        return {**sample, "image": (image if seen else kept)[0]}

    return step


def _patch(image: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], side: int, rng: np.random.Generator) -> Sample:
    """A patch around a random tumor voxel, moved into the volume as nnU-Net does, with a margin for rotation."""
    tumor = np.argwhere(labels[0] > 0)
    middle = tumor[rng.integers(len(tumor))]
    margin = side // 4
    starts = [
        max(min(int(at) - side // 2, length - side), 0 if length >= side else (length - side) // 2)
        for at, length in zip(middle, image.shape[1:], strict=True)
    ]
    wanted = side + 2 * margin
    patch = {
        "image": np.zeros((4, *(wanted,) * 3), np.float32),
        "segmentation": np.full((1, *(wanted,) * 3), -1, np.int16),
    }
    source, target = [slice(None)], [slice(None)]
    for start, length in zip(starts, image.shape[1:], strict=True):
        first = start - margin
        low, high = max(first, 0), min(first + wanted, length)
        source.append(slice(low, high))
        target.append(slice(low - first, high - first))
    patch["image"][tuple(target)] = image[tuple(source)]
    patch["segmentation"][tuple(target)] = labels[tuple(source)]
    return {name: torch.from_numpy(value) for name, value in patch.items()}


def _sample(image: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> Sample:
    return {"image": torch.from_numpy(image), "segmentation": torch.from_numpy(labels)}


def _stars(surrogate: Surrogate, sample: Sample) -> float | None:
    """Mean stars of the views, of whole planes; None where the patch lost its tumor."""
    labels = TURN.to_file(sample["segmentation"][None].clamp(min=0))
    if not bool((labels > 0).any()):
        return None
    return float(rate_segmentation(surrogate, TURN.to_file(sample["image"][None]), labels.contiguous()).mean())


def _summary(records: list[dict[str, Any]], checkpoints: tuple[str, ...]) -> list[dict[str, Any]]:
    """A row for each step: mean stars, and how far they are from the raw scan's."""
    raw = {record["exam"]: record for record in records if record["step"] == "raw"}
    rows = []
    for step in dict.fromkeys(record["step"] for record in records):
        own = [record for record in records if record["step"] == step]
        row: dict[str, Any] = {"step": step, "samples": len(own)}
        for name in checkpoints:
            pairs = [(r[name], r[name] - raw[r["exam"]][name]) for r in own if r[name] is not None]
            row[f"{name}: stars"] = statistics.mean(stars for stars, _ in pairs)
            row[f"{name}: mean abs. d"] = statistics.mean(abs(d) for _, d in pairs)
            row[f"{name}: mean d"] = statistics.mean(d for _, d in pairs)
            row[f"{name}: worst d"] = max((d for _, d in pairs), key=abs)
        rows.append(row)
    return rows


if __name__ == "__main__":
    main(tyro.cli(AugmentationOptions, description=__doc__))
