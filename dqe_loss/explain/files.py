"""What ``python -m dqe_loss.rate --explain`` writes: saliency of each segmentation as a picture, or as numbers."""

import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dqe_loss.core.centers import plane_title
from dqe_loss.core.labels import label_scheme as find_scheme
from dqe_loss.core.mask import LabelMask
from dqe_loss.core.slicing import VIEW_AXIS
from dqe_loss.data.exams import Exam
from dqe_loss.explain.saliency import SMOOTHING, Saliency, explain_labels
from dqe_loss.explain.true_error import reference_error, share_on_error
from dqe_loss.extras import import_extra
from dqe_loss.surrogate.describe import describe_ratings, star_unit
from dqe_loss.surrogate.lowest import lowest_planes
from dqe_loss.surrogate.network import Surrogate

FIGURE_FORMATS = (".png", ".pdf", ".svg")
"""Pictures; ``.json`` holds the numbers."""


def plan_explanations(path: Path | None, segmentations: Sequence[str], reference: str | None) -> dict[str, Path]:
    """Say what will be written, and refuse what cannot work before anything is read.

    Args:
        path: picture or JSON file; None for no explanation.
        segmentations: names of the exam's segmentations.
        reference: name of the one that counts as true, if there is one.

    Returns:
        Segmentation, but for the reference, to the file of its explanation. Of several, each has a picture of its own,
        with its name in the file's; a JSON file holds all.

    Raises:
        ValueError: naming what was expected.
        ImportError: if a picture is asked for without matplotlib.
    """
    if path is None:
        if reference is not None:
            raise ValueError("--reference is for --explain, which shows the true error beside the suspected one")
        return {}
    if path.suffix.lower() not in (*FIGURE_FORMATS, ".json"):
        raise ValueError(f"{path}: expected an explanation that ends in {', '.join(FIGURE_FORMATS)} or .json")
    if path.suffix.lower() in FIGURE_FORMATS:
        import_extra("dqe_loss.explain.figure", "report")
    explained = [name for name in segmentations if name != reference]
    if not explained:
        raise ValueError(f"--reference {reference}: there is no other segmentation to explain")
    if path.suffix.lower() == ".json" or len(explained) == 1:
        return dict.fromkeys(explained, path)
    return {name: path.with_name(f"{path.stem}_{name.replace('/', '_')}{path.suffix}") for name in explained}


def explain_exam(
    exam: Exam,
    surrogate: Surrogate,
    files: Mapping[str, Path],
    checkpoint: str,
    reference: str | None = None,
    label_scheme: str | None = None,
    centers: tuple[str, ...] = ("mask",),
) -> tuple[dict[Path, bytes], str]:
    """Explain all segmentations of an exam but the reference.

    Args:
        exam: the exam.
        surrogate: the network, on the device where to compute.
        files: what to write, see `plan_explanations`.
        checkpoint: where the surrogate comes from.
        reference: name of the segmentation that counts as true, if there is one.
        label_scheme: scheme of the label maps; the default of the surrogate's task if None.
        centers: where the planes lie; of several places, each view is explained where its stars are lowest.

    Returns:
        Contents of the files, and a table of the shares on the true error ("" without a reference).
    """
    scheme = find_scheme(label_scheme, surrogate.config.task)
    image = torch.from_numpy(exam.image)[None].to(surrogate.device)
    labels = {name: torch.from_numpy(one)[None, None] for name, one in exam.segmentations.items()}
    numbers: dict[str, dict[str, Any]] = {}
    contents: dict[Path, bytes] = {}
    for name, file in files.items():
        mask = labels[name].to(surrogate.device)
        planes = lowest_planes(surrogate, image, LabelMask(mask, scheme), centers)
        explained = explain_labels(surrogate, image, mask, label_scheme=scheme, center=planes.center)
        saliency = {view: one.cpu() for view, one in explained.items()}
        errors = None
        if reference is not None:
            errors = {v: reference_error(one, labels[reference], v, scheme) for v, one in saliency.items()}
        numbers[name] = {
            v: _numbers(one, v, planes.places[0][v], errors[v] if errors else None, scheme.regions)
            for v, one in saliency.items()
        }
        if file.suffix.lower() in FIGURE_FORMATS:
            caption = f"{exam.name}, {name}:\n{describe_ratings(surrogate.config, checkpoint)}"
            contents[file] = _picture(
                saliency, errors, numbers[name], surrogate, caption, file.suffix.lower(), exam.affine
            )
        else:
            contents[file] = _as_json(exam.name, numbers, surrogate, checkpoint, reference, scheme.name, centers)
    return contents, _table(numbers) if reference is not None else ""


def _as_json(
    exam: str,
    numbers: dict[str, dict[str, Any]],
    surrogate: Surrogate,
    checkpoint: str,
    reference: str | None,
    label_scheme: str,
    centers: tuple[str, ...],
) -> bytes:
    content = {
        "exam": exam,
        "checkpoint": checkpoint,
        "kind_of_ratings": surrogate.config.kind_of_ratings,
        "unit": star_unit(surrogate.config),
        "label_scheme": label_scheme,
        "center": list(centers),
        "reference": reference,
        "smoothing": SMOOTHING,
        "saliency": numbers,
    }
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def _numbers(
    saliency: Saliency, view: str, place: str, error: Tensor | None, regions: tuple[str, ...]
) -> dict[str, Any]:
    """Of one view, JSON-ready: plane and place, stars, the voxel whose change raises them most, shares on the error."""
    total = saliency.mask[0].sum(0)
    row, column = divmod(int(total.argmax()), total.shape[1])
    peak = [row, column]
    peak.insert(VIEW_AXIS[view], int(saliency.index))
    found: dict[str, Any] = {
        "plane": int(saliency.index),
        "place": place,
        "stars": saliency.stars.item(),
        "peak": peak if total.max() > 0 else None,
    }
    if error is None:
        return found
    maps = dict(zip(regions, zip(saliency.mask[0], error[0], strict=True), strict=True))
    for region, (values, wrong) in {"all": (total, error[0].any(0)), **maps}.items():
        share, chance = (v.item() for v in share_on_error(values, wrong, saliency.inside[0] | wrong))
        found[f"share_{region}"] = None if math.isnan(share) or chance == 0 else share
        found[f"chance_{region}"] = None if math.isnan(chance) else chance
    return found


def _picture(
    saliency: dict[str, Saliency],
    errors: dict[str, Tensor] | None,
    numbers: dict[str, dict[str, Any]],
    surrogate: Surrogate,
    caption: str,
    suffix: str,
    affine: NDArray[np.float64],
) -> bytes:
    unit = star_unit(surrogate.config)
    titles = {}
    for view, found in numbers.items():
        titles[view] = (
            f"{plane_title(view, found['plane'], found['place'], surrogate.config.task)}: {found['stars']:.2f} {unit}"
        )
        if errors is not None:
            titles[view] += f"; {_on_error(found)}"
    figure = import_extra("dqe_loss.explain.figure", "report").plot_saliency(
        saliency,
        errors,
        titles=titles,
        unit=unit,
        caption=caption,
        modalities=surrogate.config.modalities,
        task=surrogate.config.task,
        affine=affine,
    )
    content = io.BytesIO()
    figure.savefig(content, format=suffix[1:], dpi=110)
    return content.getvalue()


def _on_error(found: dict[str, Any]) -> str:
    if found["share_all"] is None:
        return "no error in this plane" if found["chance_all"] == 0 else "no saliency in this plane"
    return f"{found['share_all']:.0%} of the mask's map on the error (chance {found['chance_all']:.0%})"


def _table(numbers: dict[str, dict[str, Any]]) -> str:
    """What share of each mask's map falls on its true error, as plain text."""
    width = max(len(name) for name in (*numbers, "segmentation"))
    lines = [
        "Share of the mask's saliency on the true error (in brackets: that of a map without information)",
        " ".join([f"{'segmentation':{width}}", *(f"{view:>13}" for view in next(iter(numbers.values())))]),
    ]
    for name, views in numbers.items():
        cells = (
            f"{'-':>13}" if v["share_all"] is None else f"{v['share_all']:6.2f} ({v['chance_all']:.2f})"
            for v in views.values()
        )
        lines.append(" ".join([f"{name:{width}}", *(f"{cell:>13}" for cell in cells)]))
    return "\n".join(lines)
