"""Whether nnU-Net can be trained with the term on a data set: all that does not fit, before hours are lost."""

import contextlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nibabel
from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from dqe_loss.integrations.nnunet import trainer as trainers
from dqe_loss.integrations.nnunet.checked import Checked
from dqe_loss.integrations.nnunet.fit import fit, read_modalities
from dqe_loss.integrations.nnunet.labels import check_class_order, read_labels
from dqe_loss.integrations.nnunet.splits import check_split
from dqe_loss.integrations.nnunet.targets import rate_targets
from dqe_loss.integrations.nnunet.trainer import nnUNetTrainerDQE
from dqe_loss.surrogate.checkpoint import load_surrogate
from dqe_loss.surrogate.network import Surrogate
from dqe_loss.task import Task

TRAINERS = Path(__file__).parent / "trainers"
"""The folder for ``nnUNet_extTrainer``."""

VARIABLE = "nnUNet_extTrainer"
EXPORT = f"export {VARIABLE}=$(dqe nnunet path)"
BRATS_AXES = "LPS"


def check_data_set(
    name: str,
    plans_name: str,
    configurations: Sequence[str],
    patches: int,
    trainer_name: str = nnUNetTrainerDQE.__name__,
    checkpoint: str | Path | Surrogate | None = None,
    fold: str = "0",
) -> Iterator[Checked]:
    """Look at a data set of nnU-Net's.

    Args:
        name: its name or number.
        plans_name: name of its plans.
        configurations: those that have to fit; if none are named, one of the plans' has to.
        patches: how many training patches to rate the targets of; 0 for none.
        trainer_name: of the trainer; what it says of the data set holds.
        checkpoint: of the surrogate, whose task says what fits; the trainer's if None.
        fold: that is to be trained, a number or ``all``.

    Yields:
        What was found.

    Raises:
        ValueError: if there is no such data set, or no such configuration, or the fold is none.
    """
    folder = find_folder(name)
    looked_for, trainer = find_trainer(trainer_name)
    given = trainer.dqe_checkpoint if checkpoint is None else checkpoint
    surrogate = given if isinstance(given, Surrogate) else load_surrogate(given)
    task, said = surrogate.config.task, trainer.dqe_known()
    dataset_json = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    yield Checked("data set", str(folder))
    sound = True
    for subject, read in (("channels", _modalities), ("labels", _labels)):
        try:
            yield Checked(subject, read(dataset_json, task, said))
        except ValueError as error:
            sound = False
            yield Checked(subject, str(error), fits=False)
    yield looked_for
    if task.lps:
        yield from _look_at_axes(folder.name, dataset_json)
    path = folder / f"{plans_name}.json"
    if not path.is_file():
        yield _without_plans(folder, path.name)
        return
    plans = PlansManager(json.loads(path.read_text(encoding="utf-8")))
    if unknown := [one for one in configurations if one not in plans.available_configurations]:
        known = ", ".join(plans.available_configurations)
        raise ValueError(f"{path}: has no configuration {unknown[0]}, only {known}; name one of these")
    named = configurations or plans.available_configurations
    found = [_check_configuration(plans, one, dataset_json, task, said) for one in named]
    # Where nobody said which, those that do not fit are no error as long as there is one that does.
    forgiven = not configurations and any(finding.fits for finding in found)
    for finding in found:
        yield Checked(finding.subject, finding.text, finding.fits or forgiven)
    cases = {
        one.subject: _preprocessed(folder / plans.get_configuration(one.subject).data_identifier)
        for one in found
        if one.fits
    }
    if there := [names for names in cases.values() if names]:
        yield check_split(folder, there[0], fold)
    if not sound or not patches:
        return
    for subject, names in cases.items():
        if names:
            yield rate_targets(plans, subject, dataset_json, folder, patches, surrogate, said)
        else:  # nobody preprocesses more than is trained
            text = "not preprocessed: run nnUNetv2_preprocess, and check again, if you want to train it"
            yield Checked(f"{subject}, targets", text, not configurations and bool(there))


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


def _preprocessed(folder: Path) -> list[str]:
    """Names of a configuration's preprocessed cases; none where preprocessing was stopped before the first."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return []
    return sorted(infer_dataset_class(str(folder)).get_identifiers(str(folder)))


def _without_plans(folder: Path, file: str) -> Checked:
    """That there are no plans where nnU-Net would look for them, and which there are."""
    if not nnUNet_preprocessed.is_set():
        return Checked("plans", "expected their folder in nnUNet_preprocessed, found none; export it", False)
    path = Path(nnUNet_preprocessed.get()) / folder.name / file
    if path.is_file():
        told = f"{path} is there, but no dataset.json beside it; copy that of {folder} there, and check again"
        return Checked("plans", told, False)
    if others := sorted(other.stem for other in path.parent.glob("*.json") if _holds_plans(other)):
        return Checked("plans", f"{path} is not there, but {', '.join(others)}: say --plans {others[0]}", False)
    return Checked("plans", f"{path} is not there yet: run nnUNetv2_plan_and_preprocess, and check again", False)


def _holds_plans(path: Path) -> bool:
    try:
        return "plans_name" in json.loads(path.read_bytes())
    except ValueError:
        return False


def find_trainer(name: str) -> tuple[Checked, type[nnUNetTrainerDQE]]:
    """Whether nnU-Net finds a trainer, by its own way of looking for it, and the trainer.

    Returns:
        What was found, and the trainer; if nnU-Net finds none, this package's of that name, or else its default one.
    """
    ours = [one for one in vars(trainers).values() if isinstance(one, type) and issubclass(one, nnUNetTrainerDQE)]
    own = next((one for one in ours if one.__name__ == name), nnUNetTrainerDQE)
    named = [Path(part) for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part.strip()]
    if not any(part.exists() and part.samefile(TRAINERS) for part in named):
        return Checked("trainer", f"{VARIABLE} does not name {TRAINERS}; say {EXPORT}", False), own
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            found = recursive_find_trainer_class_by_name(name)
    except Exception as error:  # whatever a module of nnU-Net's, or one of the user's own, raises when it is imported
        told = " ".join(str(error).split())
        return Checked("trainer", f"nnU-Net cannot import {name} ({type(error).__name__}: {told})", False), own
    if not issubclass(found, nnUNetTrainerDQE):
        return Checked("trainer", f"{name} is no nnUNetTrainerDQE: it would train without stars", False), own
    return Checked("trainer", f"nnU-Net finds {name}"), found


def _look_at_axes(name: str, dataset_json: dict[str, Any]) -> Iterator[Checked]:
    """How the arrays of the first raw image run; nothing where there is none, or it is no NIfTI file."""
    if not nnUNet_raw.is_set() or not str(dataset_json.get("file_ending", "")).startswith(".nii"):
        return
    images = sorted((Path(nnUNet_raw.get()) / name / "imagesTr").glob("*_0000.nii*"))
    if not images or "Reorient" in str(dataset_json.get("overwrite_image_reader_writer")):
        return
    axes = "".join(code or "?" for code in nibabel.aff2axcodes(nibabel.load(images[0]).affine))
    if axes != BRATS_AXES:
        yield Checked(
            "axes",
            f"{images[0].name} runs {axes}, BraTS files run {BRATS_AXES}, and nothing is reoriented: stars of "
            "mirrored exams are a little lower, of turned ones worth nothing. Set overwrite_image_reader_writer to "
            "NibabelIOWithReorient in dataset.json, and plan and preprocess again",
        )


def _modalities(dataset_json: dict[str, Any], task: Task, known: dict[str, Any]) -> str:
    return ", ".join(known["modalities"] or read_modalities(dataset_json, task))


def _labels(dataset_json: dict[str, Any], task: Task, known: dict[str, Any]) -> str:
    found = read_labels(dataset_json, task, known["regions"], known["scheme"])
    check_class_order(dataset_json)
    return str(found)


def _check_configuration(
    plans: PlansManager, name: str, dataset_json: dict[str, Any], task: Task, known: dict[str, Any]
) -> Checked:
    try:
        return Checked(name, f"fits: {fit(dataset_json, plans, plans.get_configuration(name), task, **known)}")
    except ValueError as error:
        return Checked(name, f"does not fit: {error}", fits=False)
