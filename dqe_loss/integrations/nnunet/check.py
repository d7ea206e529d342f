"""Whether nnU-Net can be trained with the term on a data set: all that does not fit, before hours are lost."""

import contextlib
import io
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from dqe_loss.integrations.nnunet.fit import fit, read_modalities
from dqe_loss.integrations.nnunet.labels import read_labels
from dqe_loss.integrations.nnunet.term import NnunetTerm
from dqe_loss.integrations.nnunet.transforms import keep_image, split_kept
from dqe_loss.losses.self_check import low_stars
from dqe_loss.surrogate.network import Surrogate
from dqe_loss.task import GLIOMA, Task

TRAINERS = Path(__file__).parent / "trainers"
"""The folder for ``nnUNet_extTrainer``."""

VARIABLE = "nnUNet_extTrainer"
TRAINER = "nnUNetTrainerDQE"
EXPORT = f"export {VARIABLE}=$(dqe nnunet path)"
BRATS_AXES = "LPS"
FOREGROUND = 0.33
"""Share of patches that nnU-Net puts on what is segmented."""


@dataclass(frozen=True)
class Finding:
    """A thing that was looked at.

    Attributes:
        subject: what it is.
        text: what was found.
        fits: whether a training can start.
    """

    subject: str
    text: str
    fits: bool = True


def check_data_set(
    name: str, plans_name: str, configurations: Sequence[str], patches: int, surrogate: Surrogate
) -> Iterator[Finding]:
    """Look at a data set of nnU-Net's.

    Args:
        name: its name or number.
        plans_name: name of its plans.
        configurations: those that have to fit; if none are named, one of the plans' has to.
        patches: how many training patches to rate the targets of; 0 for none.
        surrogate: that rates; its task says what fits.

    Yields:
        What was found.

    Raises:
        ValueError: if there is no such data set, or no such configuration.
    """
    folder, task = find_folder(name), surrogate.config.task
    dataset_json = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    yield Finding("data set", str(folder))
    sound = True
    for subject, read in (("channels", _modalities), ("labels", _labels)):
        try:
            yield Finding(subject, read(dataset_json, task))
        except ValueError as error:
            sound = False
            yield Finding(subject, str(error), fits=False)
    yield find_trainer()
    if task == GLIOMA:  # whose files have known axes
        yield from _look_at_axes(folder.name, dataset_json)
    path = folder / f"{plans_name}.json"
    if not path.is_file():
        yield Finding("plans", f"{path} is not there yet: run nnUNetv2_plan_and_preprocess, and check again", False)
        return
    plans = PlansManager(json.loads(path.read_text(encoding="utf-8")))
    if unknown := [one for one in configurations if one not in plans.available_configurations]:
        known = ", ".join(plans.available_configurations)
        raise ValueError(f"{path}: has no configuration {unknown[0]}, only {known}; name one of these")
    named = configurations or plans.available_configurations
    found = [_check_configuration(plans, one, dataset_json, task) for one in named]
    # Where nobody said which, those that do not fit are no error as long as there is one that does.
    forgiven = not configurations and any(finding.fits for finding in found)
    for finding in found:
        yield Finding(finding.subject, finding.text, finding.fits or forgiven)
    for finding in found:
        if sound and finding.fits and patches:
            yield _rate_targets(plans, finding.subject, dataset_json, folder, patches, surrogate)


def find_folder(name: str) -> Path:
    """Folder of a data set: preprocessed, or raw where it is not preprocessed yet.

    Raises:
        ValueError: if there is none, or nnU-Net's variables are not set.
    """
    roots = [Path(root.get()) for root in (nnUNet_preprocessed, nnUNet_raw) if root.is_set()]
    if not roots:
        raise ValueError(
            "expected the folders of nnU-Net in nnUNet_raw and nnUNet_preprocessed, found neither; export them first"
        )
    try:
        full = str(maybe_convert_to_dataset_name(name))
    except (RuntimeError, ValueError) as error:
        raise ValueError(str(error).splitlines()[0]) from error
    for root in roots:
        if (root / full / "dataset.json").is_file():
            return root / full
    raise ValueError(f"{full}: no dataset.json in {' or '.join(str(root / full) for root in roots)}")


def find_trainer() -> Finding:
    """Whether nnU-Net finds the trainer, by its own way of looking for it."""
    named = [Path(part) for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part.strip()]
    if not any(part.exists() and part.samefile(TRAINERS) for part in named):
        return Finding("trainer", f"{VARIABLE} does not name {TRAINERS}; say {EXPORT}", False)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            recursive_find_trainer_class_by_name(TRAINER)
    except Exception as error:  # whatever a module of nnU-Net's, or one of the user's own, raises when it is imported
        told = " ".join(str(error).split())
        return Finding("trainer", f"nnU-Net cannot import its trainers ({type(error).__name__}: {told})", False)
    return Finding("trainer", f"nnU-Net finds {TRAINER}")


def _look_at_axes(name: str, dataset_json: dict[str, Any]) -> Iterator[Finding]:
    """How the arrays of the first raw image run; nothing where there is none, or it is no NIfTI file."""
    if not nnUNet_raw.is_set() or not str(dataset_json.get("file_ending", "")).startswith(".nii"):
        return
    images = sorted((Path(nnUNet_raw.get()) / name / "imagesTr").glob("*_0000.nii*"))
    if not images or "Reorient" in str(dataset_json.get("overwrite_image_reader_writer")):
        return
    axes = "".join(code or "?" for code in nibabel.aff2axcodes(nibabel.load(images[0]).affine))
    if axes != BRATS_AXES:
        yield Finding(
            "axes",
            f"{images[0].name} runs {axes}, BraTS files run {BRATS_AXES}, and nothing is reoriented: stars of "
            "mirrored exams are a little lower, of turned ones worth nothing. Set overwrite_image_reader_writer to "
            "NibabelIOWithReorient in dataset.json, and plan and preprocess again",
        )


def _modalities(dataset_json: dict[str, Any], task: Task) -> str:
    return ", ".join(read_modalities(dataset_json, task))


def _labels(dataset_json: dict[str, Any], task: Task) -> str:
    return str(read_labels(dataset_json, task))


def _check_configuration(plans: PlansManager, name: str, dataset_json: dict[str, Any], task: Task) -> Finding:
    try:
        return Finding(name, f"fits: {fit(dataset_json, plans, plans.get_configuration(name), task)}")
    except ValueError as error:
        return Finding(name, f"does not fit: {error}", fits=False)


def _rate_targets(
    plans: PlansManager,
    name: str,
    dataset_json: dict[str, Any],
    folder: Path,
    patches: int,
    surrogate: Surrogate,
) -> Finding:
    """Rate the targets of patches as a training draws them, but for its augmentation."""
    configuration = plans.get_configuration(name)
    config = surrogate.config
    found = fit(dataset_json, plans, configuration, config.task)
    subject = f"{name}, targets"
    data = folder / configuration.data_identifier
    if not data.is_dir():
        return Finding(subject, f"{data} is not there yet: run nnUNetv2_plan_and_preprocess, and check again", False)
    np.random.seed(0)  # nnU-Net's loader draws from it
    term = NnunetTerm(found, surrogate)
    measured = [*_figures(term, plans, configuration, dataset_json, data, patches)]
    rated = sum(one["rated"] for one in measured) / len(measured)
    stars = [one["target_stars"] for one in measured if not math.isnan(one["target_stars"])]
    told = f"{100 * rated:.0f} % of {patches} patches hold {config.task.subject} and can be rated"
    if not stars:
        return Finding(subject, f"{told}; no target could be rated", fits=False)
    mean = sum(stars) / len(stars)
    told += f"; the targets themselves get {mean:.1f} stars"
    low = low_stars(config.stars)
    if mean < low and config.refiner is not None:  # the network alone likes wrong masks as much
        return Finding(
            subject,
            f"{told}, where expert masks get more than {low:g}: channels, labels or axes are probably mixed up",
            fits=False,
        )
    return Finding(subject, told)


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
