"""What stars the targets of a data set get, in patches as a training draws them: mix-ups show there."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from dqe_loss.integrations.nnunet.checked import Checked
from dqe_loss.integrations.nnunet.fit import fit
from dqe_loss.integrations.nnunet.term import NnunetTerm
from dqe_loss.integrations.nnunet.transforms import keep_image, split_kept
from dqe_loss.losses.self_check import low_stars
from dqe_loss.surrogate.network import Surrogate

FOREGROUND = 0.33
"""Share of patches that nnU-Net puts on what is segmented."""


def rate_targets(
    plans: PlansManager,
    name: str,
    dataset_json: dict[str, Any],
    folder: Path,
    patches: int,
    surrogate: Surrogate,
    known: dict[str, Any],
) -> Checked:
    """Rate the targets of patches as a training draws them, but for its augmentation; ``known`` is for `fit`."""
    configuration = plans.get_configuration(name)
    config = surrogate.config
    found = fit(dataset_json, plans, configuration, config.task, **known)
    subject = f"{name}, targets"
    data = folder / configuration.data_identifier
    np.random.seed(0)  # nnU-Net's loader draws from it
    term = NnunetTerm(found, surrogate, on_small="pad" if known["pad"] else "skip")
    measured = [*_figures(term, plans, configuration, dataset_json, data, patches)]
    rated = sum(one["rated"] for one in measured) / len(measured)
    stars = [one["target_stars"] for one in measured if not math.isnan(one["target_stars"])]
    told = f"{100 * rated:.0f} % of {patches} patches hold {config.task.subject} and can be rated"
    if not stars:
        return Checked(subject, f"{told}; no target could be rated", fits=False)
    mean = sum(stars) / len(stars)
    told += f"; the targets themselves get {mean:.1f} stars"
    low = low_stars(config.stars)
    if min(found.orientation.rated_sides(found.patch, config.task.views)) < config.task.smallest_crop:
        return Checked(subject, f"{told}, padded; where they are not, expert masks get more than {low:g}")
    if mean < low and config.refiner is not None:  # the network alone likes wrong masks as much
        return Checked(
            subject,
            f"{told}, where expert masks get more than {low:g}: channels, labels or axes are probably mixed up",
            fits=False,
        )
    return Checked(subject, told)


def _figures(
    term: NnunetTerm, plans: PlansManager, configuration: Any, dataset_json: dict[str, Any], data: Path, patches: int
) -> Iterator[dict[str, float]]:
    labels = plans.get_label_manager(dataset_json)
    transforms = nnUNetTrainer.get_validation_transforms(
        None,
        foreground_labels=labels.foreground_labels,
        regions=labels.foreground_regions if labels.has_regions else None,
    )
    dataset_class = infer_dataset_class(str(data))
    identifiers = dataset_class.get_identifiers(str(data))
    chosen = np.random.permutation(identifiers)[:patches].tolist()
    size = min(int(configuration.batch_size), patches)
    loader = nnUNetDataLoader(
        dataset_class(str(data), chosen),
        size,
        configuration.patch_size,
        configuration.patch_size,
        labels,
        oversample_foreground_percent=FOREGROUND,
        transforms=keep_image(transforms, term.fit.masked),
    )
    with torch.no_grad():
        for _ in range(math.ceil(patches / size)):
            batch = loader.generate_train_batch()
            _, image = split_kept(batch["data"], len(term.fit.masked))
            term.check_target(batch["target"], image)
            yield term.figures()
