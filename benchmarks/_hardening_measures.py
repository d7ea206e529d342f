"""What an exam's masks are judged by: Dice, the published stars, and what a hardened surrogate's stars are made of.

What depends on no refiner (Dice, published stars, agreement with the reference itself) is measured once an exam, the
rest once a checkpoint. Stored are ingredients, so that the gate's options can be chosen afterwards (`_hardening_gate`).
"""

from typing import Any

import numpy as np
import torch
from _hardening_gate import Gate, agreement_of
from _hardening_masks import judged_masks
from _hardening_units import changed_units
from torch import Tensor

from dqe_loss import Surrogate, rate_segmentation
from dqe_loss.audit.audited_exam import AuditedExam, ExamSource
from dqe_loss.audit.stars_and_dice import plane_dice
from dqe_loss.core.center_of_mass import hard_center_of_mass
from dqe_loss.core.mask import RegionMask, center_of_mask
from dqe_loss.core.pipeline import CPU_BATCH, cut_planes, read_inputs
from dqe_loss.core.planes import join_planes, presented_regions, split_planes
from dqe_loss.core.slicing import VIEW_AXIS, VIEWS
from dqe_loss.metrics.overlap import region_dice
from dqe_loss.surrogate.agreement import overlap
from dqe_loss.surrogate.refiner import RefinedMask
from dqe_loss.surrogate.survey import SurveyScans, refiner_of, show, survey_positions, survey_scans
from dqe_loss.task import GLIOMA

Row = dict[str, Any]
TOLERANCE = 2e-3
"""Stars by which those made of stored ingredients may differ from the rating itself."""


@torch.no_grad()
def measure_masks(published: Surrogate, case: AuditedExam, source: ExamSource, seed: int) -> Row:
    """What depends on no refiner.

    Returns:
        ``masks``: for each mask its name, kind, error and severity, ``dice`` of TC, WT, ET in the volume, ``planes``
        (the mean in the planes through the reference's center, which says whether a mask is absurd), ``published``
        (stars of the views), and ``views`` and ``survey``: `plane_sums` with the reference in place of a refined mask.
        ``units``: published stars of the expert's mask by change of units.
    """
    reference = case.regions
    truth = RegionMask(reference, hard=True)
    center = hard_center_of_mass(reference)
    positions = survey_positions(case.image)
    rows = []
    for judged in judged_masks(case, source, seed):
        regions = case.as_regions(judged.labels)
        mask = RegionMask(regions, hard=True)
        own = center_of_mask(mask, hard=True)[:, :, None]
        row = {"name": judged.name, "kind": judged.kind, "error": judged.error, "severity": judged.severity}
        row["dice"] = region_dice(regions, reference)[0]
        row["planes"] = np.mean(plane_dice(regions, reference, center, GLIOMA))
        row["published"] = rate_segmentation(published, case.image, regions)[0]
        for name, places in (("views", own), ("survey", positions)):
            row[name] = plane_sums(*(_region_planes(published, one, places) for one in (mask, truth)))
        rows.append(row)
    units = {name: rate_segmentation(published, image, reference)[0] for name, image in changed_units(case.image)}
    return {"masks": rows, "units": units}


@torch.no_grad()
def measure_refiner(surrogate: Surrogate, case: AuditedExam, source: ExamSource, seed: int) -> Row:
    """What a hardened surrogate makes of each mask, and of the expert's in other units.

    Returns:
        ``masks``: `ingredients` by name; ``units``: those of the expert's mask by change of units; ``gate``: the
        checkpoint's own options.

    Raises:
        ValueError: the ingredients do not make the stars that `rate_segmentation` gives.
    """
    cut = survey_scans(surrogate.config, case.image)
    masks = {}
    for judged in judged_masks(case, source, seed):
        regions = case.as_regions(judged.labels)
        masks[judged.name] = ingredients(surrogate, case.image, regions, cut)
        if len(masks) == 1:
            check_ingredients(surrogate, case.image, regions, masks[judged.name])
    units = {}
    for name, image in changed_units(case.image):
        units[name] = ingredients(surrogate, image, case.regions, survey_scans(surrogate.config, image))
    config = refiner_of(surrogate)
    gate = {name: getattr(config, name) for name in ("full_marks", "survey_full_marks", "exponent")}
    return {"masks": masks, "units": units, "gate": gate}


def ingredients(surrogate: Surrogate, image: Tensor, regions: Tensor, cut: SurveyScans) -> Row:
    """All that the stars of a mask are made of.

    Args:
        surrogate: with a refiner.
        image: ``(1, 4, X, Y, Z)``.
        regions: boolean ``(1, 3, X, Y, Z)``.
        cut: the image's planes for the survey.

    Returns:
        ``network``: stars of the views before the gate; ``views`` and ``survey``: `plane_sums` of mask and refined
        mask.
    """
    mask = RegionMask(regions, hard=True)
    planes = planes_of(surrogate, image, mask)
    shown = split_planes(surrogate.config, planes)[1]
    # Its own refined mask is what a mask agrees with fully: the gate stays open, and the stars are the network's.
    network = surrogate(planes, RefinedMask(shown, shown > 0))
    survey = show(surrogate.config, cut, mask)
    chunks = zip(*(part[0].split(CPU_BATCH) for part in survey), strict=True)
    pairs = [_with_refined(surrogate, join_planes(surrogate.config, *chunk)) for chunk in chunks]
    joined = [torch.cat(part) for part in zip(*pairs, strict=True)]
    return {
        "network": network,
        "views": plane_sums(*_with_refined(surrogate, planes)),
        "survey": plane_sums(*joined),
    }


def plane_sums(regions: Tensor, refined: Tensor) -> Tensor:
    """Sums of `dqe_loss.surrogate.agreement.overlap`, added up by view.

    Args:
        regions: ``(V P, 3, H, W)``, view by view.
        refined: the same shape.

    Returns:
        ``(V, 3, 2)``: for each view and region the voxels that both have, and the sum of what either has.
    """
    return torch.stack(overlap(regions.float(), refined.float()), -1).unflatten(0, (len(VIEWS), -1)).sum(1)


@torch.no_grad()
def check_ingredients(surrogate: Surrogate, image: Tensor, regions: Tensor, row: Row) -> None:
    """Check that ingredients make the stars that the rating gives, of three planes and thorough.

    Raises:
        ValueError: they do not.
    """
    config = refiner_of(surrogate)
    gate = Gate(config.full_marks, config.exponent, config.survey_full_marks)
    network, views, survey = (row[name].double().numpy() for name in ("network", "views", "survey"))
    for thorough in (False, True):
        pooled = agreement_of(survey.sum(0))[None] if thorough else None
        made = gate.stars(network[None], agreement_of(views)[None], pooled)[0]
        rated = float(rate_segmentation(surrogate, image, regions, thorough=thorough).mean())
        if abs(made - rated) > TOLERANCE:
            raise ValueError(
                f"expected {rated:.3f} stars (thorough: {thorough}), got {made:.3f} from the ingredients; "
                "_hardening_gate.py must follow the rating of dqe_loss"
            )


def planes_of(surrogate: Surrogate, image: Tensor, mask: RegionMask) -> Tensor:
    """The three planes through a mask's center ``(3, C, H, W)``."""
    inputs = read_inputs(surrogate.config, image, mask, center_of_mask(mask, hard=True))
    return cut_planes(surrogate.config, inputs)[0, :, 0]


def _with_refined(surrogate: Surrogate, planes: Tensor) -> tuple[Tensor, Tensor]:
    refined = surrogate.refine(planes)
    assert refined is not None  # `survey_scans` is only asked for a surrogate with a refiner
    return split_planes(surrogate.config, planes)[1], refined.regions


def _region_planes(surrogate: Surrogate, mask: RegionMask, positions: Tensor) -> Tensor:
    """Planes of a mask at positions ``(1, 3, P)`` along X, Y, Z: ``(V P, 3, H, W)``."""
    return torch.cat(
        [presented_regions(surrogate.config, mask, positions[:, VIEW_AXIS[view]], view)[0] for view in VIEWS]
    )
