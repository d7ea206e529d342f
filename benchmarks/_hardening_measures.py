"""What a checkpoint is judged by, on one exam that it was not taught on."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from dqe_loss import Surrogate, rate_segmentation, regions_from_labels
from dqe_loss.data.exams import read_exam
from dqe_loss.evaluation.audit.absurd import measure_absurd
from dqe_loss.evaluation.audit.case import Case, Source
from dqe_loss.evaluation.audit.direction import measure_direction
from dqe_loss.evaluation.audit.exploitation import attack, observe, start_logits
from dqe_loss.evaluation.audit.free import free_box, whole_mask
from dqe_loss.evaluation.audit.ladders import measure_ladders
from dqe_loss.evaluation.audit.measure import Settings
from dqe_loss.evaluation.collect import find_all_segmentations
from dqe_loss.evaluation.overlap import region_dice
from dqe_loss.guards import GuardedSurrogate
from dqe_loss.look import LOOKS

STARTS = ("reference", "shifted", "empty")


def measure_checkpoint(surrogate: Surrogate, case: Case, source: Source, attack_steps: int) -> dict[str, Any]:
    """Absurd masks, ladders, attacks without a guard by a target, direction, and the exam's natural masks.

    Returns:
        JSON-ready numbers under these names.
    """
    settings = Settings(attack_steps=attack_steps)
    return {
        "natural": natural_masks(surrogate, source),
        "absurd": measure_absurd(case, surrogate, settings, _tick).numbers,
        "ladders": measure_ladders(case, surrogate, settings, _tick).numbers,
        "direction": measure_direction(case, surrogate, settings, _tick).numbers,
        "attacks": {start: attacked(surrogate, case, start, settings) for start in STARTS},
    }


def attacked(surrogate: Surrogate, case: Case, start: str, settings: Settings) -> Mapping[str, Any]:
    """Stars and Dice before and after an attack from a start, with fixed planes and a refiner's guard on, if any."""
    box, shape = free_box(case), case.regions.shape
    first = start_logits(case, start, settings.seed)[box].contiguous()
    last, stars = attack(case, GuardedSurrogate(surrogate), first, settings, 0.0, _tick)
    before, after = (observe(case, surrogate, whole_mask(logits, box, shape)) for logits in (first, last))
    return {"before": before, "after": after, "stars": stars}


def natural_masks(surrogate: Surrogate, source: Source) -> list[dict[str, Any]]:
    """Every segmentation of an exam, the reference first: Dice with it by region, and stars by where one looks."""
    if source.paths is None:
        return []
    (reference,) = source.paths.segmentations
    found = find_all_segmentations(source.paths.t1c.parent, (reference.name,))
    exam = read_exam(found.paths, label_scheme=source.label_scheme)
    image = torch.from_numpy(exam.image)[None]
    masks = [
        regions_from_labels(torch.from_numpy(m)[None, None], source.label_scheme) for m in exam.segmentations.values()
    ]
    rows = []
    for name, mask in zip(found.names, masks, strict=True):
        row: dict[str, Any] = {"name": name, "dice": region_dice(mask, masks[0])[0].tolist()}
        with torch.no_grad():
            stars = {place: rate_segmentation(surrogate, image, mask, look=(place,)) for place in LOOKS}
        for look in (("mask",), ("flair",), ("brain",), ("mask", "flair"), LOOKS):
            row["+".join(look)] = float(torch.stack([stars[place] for place in look]).amin(0).mean())
        rows.append(row)
    return rows


def correlation(rows: list[dict[str, Any]], look: str = "mask") -> float:
    """Pearson's r of stars and mean region Dice; NaN for fewer than three masks."""
    if len(rows) < 3:
        return math.nan
    return float(np.corrcoef([np.mean(row["dice"]) for row in rows], [row[look] for row in rows])[0, 1])


def _tick(_: int) -> None:
    """Progress is told a checkpoint at a time."""
