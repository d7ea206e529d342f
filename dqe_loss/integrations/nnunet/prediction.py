"""By which trainer's name ``nnUNetv2_predict`` makes a network again."""

import os
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

NNUNETS_OWN = nnUNetTrainer.__module__.rpartition(".")[0]
"""The package in which nnU-Net looks for trainers first."""


def trainer_to_predict_with(trainer: type[nnUNetTrainer]) -> str:
    """Name of the trainer of nnU-Net's own that makes the same network, which is found without ``nnUNet_extTrainer``.

    Args:
        trainer: that is trained with.

    Returns:
        The name; the trainer's own where none of nnU-Net's makes its network.
    """
    makes = trainer.build_network_architecture
    own: list[Any] = [one for one in trainer.__mro__ if one.__module__.startswith(f"{NNUNETS_OWN}.")]
    return next((one.__name__ for one in reversed(own) if one.build_network_architecture is makes), trainer.__name__)


def finish_checkpoint(temporary: str, path: str, trainer: type[nnUNetTrainer]) -> None:
    """Put a checkpoint that this process has just written in its place, with the name that prediction needs.

    Args:
        temporary: where it lies.
        path: where it belongs.
        trainer: that is trained with.
    """
    name = trainer_to_predict_with(trainer)
    if name != trainer.__name__:
        checkpoint = torch.load(temporary, map_location="cpu", weights_only=False)
        torch.save({**checkpoint, "trainer_name": name}, temporary)
    os.replace(temporary, path)
