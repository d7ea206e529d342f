"""Where nnU-Net finds the trainers: ``export nnUNet_extTrainer=$(dqe nnunet path)``.

nnU-Net imports every module of that folder by itself and forgets it afterwards; the classes live in the package.
"""

from dqe_loss.integrations.nnunet.trainer import (
    nnUNetTrainerDQE,
    nnUNetTrainerDQE_250epochs,
    nnUNetTrainerDQE_noGuard,
    nnUNetTrainerDQE_smallPatches,
)

__all__ = [
    "nnUNetTrainerDQE",
    "nnUNetTrainerDQE_250epochs",
    "nnUNetTrainerDQE_noGuard",
    "nnUNetTrainerDQE_smallPatches",
]
