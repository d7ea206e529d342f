"""A data set of nnU-Net's that is as small as can be rated, and what its commands need around them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from helpers import make_image, make_labels

from dqe_loss.data.phantom import make_blob
from dqe_loss.integrations.nnunet.check import TRAINERS, VARIABLE

SHAPE = (100, 98, 96)
"""Voxels of an exam: a patch of 96 fits in."""
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
NAME = "Dataset137_Small"
TRAIN = "nnunetv2.run.run_training:run_training_entry"
CHANNELS = {"0": "T1", "1": "T1ce", "2": "T2", "3": "Flair"}
REGIONS = {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing tumor": [3]}

OWN_TRAINER = """
import torch

from dqe_loss.integrations.nnunet.trainer import nnUNetTrainerDQE


class nnUNetTrainerDQE_tiny(nnUNetTrainerDQE):
    dqe_warmup_epochs = 1

    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cuda")):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 2, 2, 1
        self.save_every = 1
"""
"""What a user writes for a trainer of their own."""


def write_raw(root: Path) -> Path:
    """Two training exams and a test exam, whose tumors lie elsewhere in each."""
    folder = root / "raw" / NAME
    for part in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / part).mkdir(parents=True)
    for number, (part, exam) in enumerate((("Tr", "a"), ("Tr", "b"), ("Ts", "c"))):
        labels = make_labels(SHAPE, center=(0.1 - 0.1 * number, -0.1, 0.05 * number))
        scans = dict(zip(("t1c", "t1", "t2", "flair"), make_image(SHAPE, seed=number), strict=True))
        for channel, name in enumerate(("t1", "t1c", "t2", "flair")):
            image = nib.Nifti1Image(scans[name].astype(np.float32), LPS)
            nib.save(image, folder / f"images{part}" / f"{exam}_{channel:04}.nii.gz")
        if part == "Tr":
            own = np.choose(labels, [0, 2, 1, 3]).astype(np.uint8)  # nnU-Net's order: 1 edema, 2 necrosis
            nib.save(nib.Nifti1Image(own, LPS), folder / "labelsTr" / f"{exam}.nii.gz")
    content = {"channel_names": CHANNELS, "labels": REGIONS, "regions_class_order": [1, 2, 3], "numTraining": 2}
    (folder / "dataset.json").write_text(json.dumps({**content, "file_ending": ".nii.gz"}))
    return folder


def write_raw_blobs(root: Path) -> Path:
    """Two training exams of the second task."""
    folder = root / "raw" / NAME
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for seed, name in enumerate("ab"):
        exam = make_blob(seed)
        nib.save(nib.Nifti1Image(exam.image[0], exam.affine), folder / "imagesTr" / f"{name}_0000.nii.gz")
        labels = nib.Nifti1Image(exam.segmentations["reference"], exam.affine)
        nib.save(labels, folder / "labelsTr" / f"{name}.nii.gz")
    content = {"channel_names": {"0": "scan"}, "labels": {"background": 0, "blob": 1}, "numTraining": 2}
    (folder / "dataset.json").write_text(json.dumps({**content, "file_ending": ".nii.gz"}))
    return folder


def shrink_plans(preprocessed: Path, side: int) -> None:
    """Networks of a few channels, small patches, a split of one exam each."""
    path = preprocessed / "nnUNetPlans.json"
    plans = json.loads(path.read_text())
    for name, configuration in plans["configurations"].items():
        if "architecture" not in configuration:
            continue
        dimensions = 2 if name == "2d" else 3
        own = configuration["architecture"]["arch_kwargs"]
        own |= {
            "n_stages": 3,
            "features_per_stage": [2, 4, 8],
            "kernel_sizes": [[3] * dimensions] * 3,
            "strides": [[1] * dimensions, [2] * dimensions, [2] * dimensions],
            "n_conv_per_stage": [1] * 3,
            "n_conv_per_stage_decoder": [1] * 2,
        }
        configuration |= {"patch_size": [side] * dimensions, "batch_size": 2}
    path.write_text(json.dumps(plans))
    (preprocessed / "splits_final.json").write_text(json.dumps([{"train": ["a"], "val": ["b"]}]))


class Commands:
    """nnU-Net's commands in processes of their own, with its folders below a root."""

    def __init__(self, root: Path, own_trainer: str = OWN_TRAINER, side: int = 96) -> None:
        self.root, self.side = root, side
        own = root / "own_trainers"
        own.mkdir(exist_ok=True)
        (own / "tiny_trainers.py").write_text(own_trainer)
        self.environment = {
            **os.environ,
            **{f"nnUNet_{name}": str(root / name) for name in ("raw", "preprocessed", "results")},
            "nnUNet_def_n_proc": "1",
            "nnUNet_n_proc_DA": "1",
            "OMP_NUM_THREADS": "1",
            VARIABLE: os.pathsep.join((str(TRAINERS), str(own))),
            "PYTHONPATH": os.pathsep.join((str(Path(__file__).parent / "stand_in"), *filter(None, sys.path))),
        }

    def run(self, entry: str, *arguments: str, **environment: str) -> str:
        """Run ``module:function`` as the command that it is; returns what it printed."""
        with self.start(entry, *arguments, **environment) as process:
            try:
                out, errors = process.communicate(timeout=1200)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        assert process.returncode == 0, f"{out[-2000:]}\n{errors[-4000:]}"
        return out

    def start(self, entry: str, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        """Start ``module:function`` as the command that it is."""
        module, function = entry.split(":")
        program = f"import sys; from {module} import {function}; sys.exit({function}())"
        return subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def prepare(self) -> None:
        """``nnUNetv2_plan_and_preprocess``, with plans that are shrunk in between."""
        plan = "nnunetv2.experiment_planning.plan_and_preprocess_entrypoints"
        self.run(f"{plan}:plan_and_preprocess_entry", "-d", "137", "--no_pp", "-npfp", "1", "--no_pbar")
        shrink_plans(self.root / "preprocessed" / NAME, self.side)
        self.run(f"{plan}:preprocess_entry", "-d", "137", "-c", "3d_fullres", "2d", "-np", "1", "1", "--no_pbar")

    def train(self, configuration: str, trainer: str, *more: str) -> str:
        """``nnUNetv2_train`` of fold 0 on the CPU, without workers."""
        return self.run(TRAIN, *_training(configuration, trainer), *more, nnUNet_n_proc_DA="0")

    def train_until(self, file: Path, configuration: str, trainer: str) -> None:
        """The same, stopped as a machine that goes down stops it, as soon as a file is there."""
        with self.start(TRAIN, *_training(configuration, trainer), nnUNet_n_proc_DA="0") as process:
            try:
                ends = time.monotonic() + 1200
                while not file.exists() and process.poll() is None and time.monotonic() < ends:
                    time.sleep(0.02)
            finally:
                process.terminate()
                out, errors = process.communicate(timeout=60)
        assert process.returncode == -signal.SIGTERM, f"{out[-2000:]}\n{errors[-4000:]}"


def _training(configuration: str, trainer: str) -> tuple[str, ...]:
    return ("137", configuration, "0", "-tr", trainer, "-device", "cpu")
