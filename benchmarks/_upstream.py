"""The published package as the benchmarks call it, and an exam's files for it and for dqe_loss."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import nibabel
import torch

from dqe_loss import MODALITIES, VIEWS
from dqe_loss.data.exam_files import ExamPaths, find_exam
from dqe_loss.data.phantom import make_phantom


def upstream(device: torch.device) -> Any:
    """Upstream's rater."""
    with patch.dict(os.environ):  # upstream overwrites CUDA_VISIBLE_DEVICES for the whole process
        from deep_quality_estimation import DQE

        return DQE(device=device, cuda_devices=os.environ.get("CUDA_VISIBLE_DEVICES", "0"))


def arguments(paths: ExamPaths) -> dict[str, Path]:
    """The files as upstream's functions take them."""
    return {name: paths.images[name] for name in MODALITIES} | {"segmentation": paths.segmentations[0]}


def upstream_network(paths: ExamPaths, device: torch.device) -> tuple[Any, Any, Callable[[], None]]:
    """Upstream's handler of an exam's files, its planes by view as they are scaled when asked for, and the network."""
    from deep_quality_estimation.data_handler import DataHandler

    model, handler = upstream(device).model.eval(), DataHandler(**arguments(paths))
    dataset = handler._build_dataset()
    planes = [dataset[view]["inputs"][None].float().to(device) for view in range(len(VIEWS))]

    def network() -> None:
        with torch.no_grad():
            for plane in planes:
                model(plane).cpu()

    return handler, dataset, network


def exam_files(folder: Path | None, scratch: Path) -> tuple[ExamPaths, ExamPaths]:
    """The exam with its first segmentation as gz and as plain NIfTI, both in `scratch`."""
    gz, plain = scratch / "gz", scratch / "plain"
    gz.mkdir()
    plain.mkdir()
    if folder is None:
        phantom = make_phantom()
        volumes = dict(zip(MODALITIES, phantom.image, strict=True)) | {"seg": phantom.segmentations["reference"]}
        for name, voxels in volumes.items():
            nibabel.save(nibabel.Nifti1Image(voxels, phantom.affine), gz / f"{name}.nii.gz")
    else:
        found = find_exam(folder)
        sources = {name: found.images[name] for name in MODALITIES} | {"seg": found.segmentations[0]}
        for name, source in sources.items():
            if source.suffix == ".gz":
                shutil.copy(source, gz / f"{name}.nii.gz")
            else:
                (gz / f"{name}.nii.gz").write_bytes(gzip.compress(source.read_bytes()))
    paths = find_exam(gz)
    for file in gz.iterdir():
        (plain / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
    moved = {name: plain / paths.images[name].stem for name in MODALITIES}
    return paths, replace(paths, images=moved, segmentations=(plain / paths.segmentations[0].stem,))
