"""Milliseconds of each augmentation of a plane, here and as its library does it, and planes a second of the whole.

Run: ``python benchmarks/augmentation.py``. One thread, and the time that it had a core (where it had one all the time,
that is wall time; a busy machine does not count); planes of the phantom in three views. *Here* is `augment` with
that transform alone at probability 1 and the default magnitudes, minus `augment` with none (what intensity transforms
share, about the cost of brightness, is counted in each of them); *library* is the library's
own class or function at its defaults on the whole plane (TorchIO's motion on (C, 1, H, W), see
`dqe_loss.data.augmentation.artifacts.strike`). Target: at least 60 planes a second with the default configuration.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchio as tio
import tyro
from _options import ResultFile
from _report import interleave, machine, markdown_table, timed, write_json
from batchgenerators.augmentations.color_augmentations import (
    augment_brightness_multiplicative,
    augment_contrast,
    augment_gamma,
)
from batchgenerators.augmentations.noise_augmentations import augment_rician_noise
from batchgenerators.augmentations.resample_augmentations import augment_linear_downsampling_scipy
from monai.transforms import Rand2DElastic, RandAffine, RandAxisFlip, RandGaussianNoise
from torch import Tensor

from dqe_loss import regions_from_labels
from dqe_loss.core.center_of_mass import hard_center_of_mass
from dqe_loss.core.intensity import scale_planes
from dqe_loss.core.slicing import VIEW_AXIS, VIEWS, pad_planes, take_planes
from dqe_loss.data.augmentation.augment import TRANSFORMS, AugmentationConfig, augment
from dqe_loss.data.phantom import make_phantom

TARGET = 60
NONE, WHOLE, ALL = "none", "default configuration", "all at probability 1"


@dataclass(frozen=True)
class AugmentationOptions:
    """Options of the command line."""

    repeats: int = 30
    """Measured rounds; one more goes first."""
    draws: int = 600
    """Planes augmented with the default configuration."""
    json: ResultFile = Path("benchmarks/results/augmentation.json")


def main(settings: AugmentationOptions) -> None:
    """Measures, prints the table and writes the JSON."""
    torch.set_num_threads(1)
    config, planes = AugmentationConfig(), phantom_planes()
    cases = {NONE: augmenter(planes, config.only()), ALL: augmenter(planes, config.only(*TRANSFORMS))}
    cases |= {name: augmenter(planes, config.only(name)) for name in TRANSFORMS}
    cases |= {f"library {name}": run for name, run in library_calls(planes).items()}
    seconds = interleave({name: timed(run, clock=time.process_time) for name, run in cases.items()}, settings.repeats)
    medians = {name: 1000 * statistics.median(values) for name, values in seconds.items()}
    measure = timed(augmenter(planes, config), clock=time.process_time)
    started = time.perf_counter()
    whole = [measure() for _ in range(settings.draws)]
    wall = 1000 * (time.perf_counter() - started) / settings.draws

    rows: list[dict[str, Any]] = []
    for name in TRANSFORMS:
        here, probability = medians[name] - medians[NONE], config.probability(name)
        row = {"transform": name, "library, ms": medians[f"library {name}"], "here, ms": here}
        rows.append({**row, "probability": probability, "expected, ms": here * probability})
    total = {key: sum(row[key] for row in rows) for key in ("library, ms", "here, ms", "expected, ms")}
    rows.append({"transform": "sum", **total})
    print(markdown_table(rows))

    mean, worst = 1000 * statistics.fmean(whole), 1000 * float(np.percentile(whole, 99))
    print(f"\nno transform: {medians[NONE]:.2f} ms; {ALL}: {medians[ALL]:.1f} ms")
    print(f"{WHOLE}: mean {mean:.1f} ms ({wall:.1f} by the wall clock), 99 % within {worst:.1f} ms")
    print(f"{1000 / mean:.0f} planes/s on a core; target {TARGET}")
    payload = {"settings": asdict(settings), "machine": machine(), "config": asdict(config), "rows": rows}
    figures = {"none_ms": medians[NONE], "all_ms": medians[ALL], "default_mean_ms": mean, "default_99_ms": worst}
    figures["default_mean_wall_ms"] = wall
    write_json(settings.json, {**payload, **figures, "planes_per_second": 1000 / mean, "target": TARGET})


def phantom_planes() -> list[tuple[Tensor, Tensor]]:
    """A plane of each view through the phantom's tumor, as the cache gives them."""
    exam = make_phantom(0)
    image = torch.from_numpy(exam.image)[None].float()
    regions = regions_from_labels(torch.from_numpy(exam.segmentations["reference"])[None, None], "brats23").bool()
    center = hard_center_of_mass(regions)
    planes = []
    for view in VIEWS:
        scans, mask = (take_planes(v, center[:, VIEW_AXIS[view], None], view)[0, 0] for v in (image, regions))
        planes.append((pad_planes(scale_planes(scans)).contiguous(), pad_planes(mask).contiguous()))
    return planes


def augmenter(planes: list[tuple[Tensor, Tensor]], config: AugmentationConfig) -> Callable[[], object]:
    """A call that augments the next plane with the next seed."""
    calls = count()

    def run() -> object:
        call = next(calls)
        return augment(*planes[call % len(planes)], config, (0, call))

    return run


def library_calls(planes: list[tuple[Tensor, Tensor]]) -> dict[str, Callable[[], object]]:
    """The libraries' own transforms at their default magnitudes, always applied; geometry on the image alone."""
    scans, calls = [scans for scans, _ in planes], count()
    turn = math.radians(15)  # MONAI has no default rotation
    spacing, magnitude = (32, 32), (1.0, 3.0)  # nor spacing and magnitude
    functions: dict[str, Callable[[Tensor], object]] = {
        "flip": RandAxisFlip(prob=1),
        "affine": RandAffine(prob=1, rotate_range=turn, scale_range=(0.1, 0.1)),
        "elastic": Rand2DElastic(spacing, magnitude, prob=1),
        "bias_field": lambda plane: tio.RandomBiasField()(plane[..., None]),
        "contrast": lambda plane: augment_contrast(plane.numpy().copy()),
        "brightness": lambda plane: augment_brightness_multiplicative(plane.numpy().copy()),
        "gamma": lambda plane: augment_gamma(plane.numpy().copy(), per_channel=True),
        "motion": lambda plane: tio.RandomMotion()(plane[:, None]),
        "ghosting": lambda plane: tio.RandomGhosting(axes=(0, 1))(plane[..., None]),
        "spike": lambda plane: tio.RandomSpike()(plane[..., None]),
        "low_resolution": lambda plane: augment_linear_downsampling_scipy(plane.numpy().copy()),
        "noise": RandGaussianNoise(prob=1),
        "rician": lambda plane: augment_rician_noise(plane.numpy()),
    }
    return {name: lambda f=f: f(scans[next(calls) % len(scans)]) for name, f in functions.items()}  # type: ignore[misc]


if __name__ == "__main__":
    main(tyro.cli(AugmentationOptions, description=__doc__))
