"""nnU-Net's trainer with the term: ``nnUNetv2_train 137 3d_fullres 0 -tr nnUNetTrainerDQE``.

What nnU-Net does it does still: the loss of its own stands in the sum as it is, with deep supervision, and compiling,
DDP and mixed precision are switched by nnU-Net. Its checkpoints are plain ones of nnU-Net's, so that prediction needs
nothing of this package.
"""

import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from dqe_loss.integrations.nnunet.figures import PATCHES, mean_figures
from dqe_loss.integrations.nnunet.fit import Fit, fit
from dqe_loss.integrations.nnunet.prediction import finish_checkpoint
from dqe_loss.integrations.nnunet.progress import SERIES, ProgressLogger
from dqe_loss.integrations.nnunet.term import NnunetTerm
from dqe_loss.integrations.nnunet.transforms import keep_image, split_kept
from dqe_loss.losses.sum import LossSum
from dqe_loss.surrogate.checkpoint import DEFAULT_CHECKPOINT, load_surrogate
from dqe_loss.surrogate.network import Surrogate


class nnUNetTrainerDQE(nnUNetTrainer):  # type: ignore[misc]  # noqa: N801
    """nnU-Net's default training, with ``0.1 * DQELoss()`` beside its Dice and cross entropy.

    A trainer of your own derives from it, sets what differs, and lies in a folder of its own that
    ``nnUNet_extTrainer`` names, too.

    Attributes:
        dqe_checkpoint: what `load_surrogate` takes, or a `Surrogate`; its task says which channels and labels fit.
        dqe_weight: of the term in the sum.
        dqe_epochs: length of the training; nnU-Net's own (1000) if None.
        dqe_warmup_epochs: epochs without the term; meanwhile the targets themselves are rated.
        dqe_options: further options of `DQELoss`; a ``warmup`` there is in steps, and comes before the epochs.
        dqe_modalities: the modality of each channel, where ``dataset.json`` does not tell.
        dqe_regions: the region of each output channel, where ``dataset.json`` does not tell.
        dqe_label_scheme: the label scheme, where ``dataset.json`` does not tell.
        criterion: the sum of nnU-Net's loss and the term, once it is built.
        term: the term in it.
    """

    dqe_checkpoint: str | Path | Surrogate = DEFAULT_CHECKPOINT
    dqe_weight: float = 0.1
    dqe_epochs: int | None = None
    dqe_warmup_epochs: int = 10
    dqe_options: Mapping[str, Any] = {}
    dqe_modalities: tuple[str, ...] = ()
    dqe_regions: tuple[str, ...] = ()
    dqe_label_scheme: str = ""
    criterion: LossSum
    term: NnunetTerm

    # nnU-Net reads the names of these arguments, which must be spelled out.
    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        if self.dqe_epochs is not None:
            self.num_epochs: int = self.dqe_epochs
        self.logger.local_logger = ProgressLogger(self.logger.local_logger.verbose)

    @cached_property
    def dqe_surrogate(self) -> Surrogate:
        """What rates."""
        given = self.dqe_checkpoint
        return given if isinstance(given, Surrogate) else load_surrogate(given)

    @classmethod
    def dqe_known(cls) -> dict[str, Any]:
        """What is said here of the data set, as `fit` takes it."""
        return {
            "modalities": cls.dqe_modalities,
            "regions": cls.dqe_regions,
            "scheme": cls.dqe_label_scheme,
            "pad": cls.dqe_options.get("on_small") == "pad",
        }

    @cached_property
    def dqe_fit(self) -> Fit:
        """What the loss has to know of the data set.

        Raises:
            ValueError: if something does not fit.
        """
        try:
            return fit(
                self.dataset_json,
                self.plans_manager,
                self.configuration_manager,
                self.dqe_surrogate.config.task,
                **self.dqe_known(),
            )
        except ValueError as error:
            name = f"{self.plans_manager.dataset_name}, {self.configuration_name}"
            raise ValueError(f"{name} cannot be trained with {type(self).__name__}: {error}") from error

    def _build_loss(self) -> torch.nn.Module:
        found = self.dqe_fit
        warmup = self.dqe_warmup_epochs * self.num_iterations_per_epoch
        self.term = NnunetTerm(found, self.dqe_surrogate, **{"warmup": warmup, **self.dqe_options})
        self.logger.local_logger.scale = self.dqe_surrogate.config.stars
        # The sum goes around nnU-Net's loss, whose wrapper for deep supervision takes nothing but lists.
        self.criterion = LossSum(super()._build_loss(), (self.dqe_weight, self.term)).to(self.device)
        cap, given = self.term.max_gradient_ratio, self.dqe_checkpoint
        self.print_to_log_file(
            f"DQE: {self.dqe_weight:g} x {self.term!r} of {'a surrogate' if isinstance(given, Surrogate) else given} "
            f"rates {found} of the task {self.term.task.name}; channels {', '.join(found.modalities)}, {found.labels}; "
            f"its gradient is {'not capped' if cap is None else f'capped at {cap:g} of the loss beside it'}"
        )
        return self.criterion.bound()

    def on_train_start(self) -> None:
        """Begin as nnU-Net does, and log when the term joins, or that it takes part already."""
        super().on_train_start()
        joins = self.term.warmup / self.num_iterations_per_epoch
        if joins >= self.num_epochs:
            told = "WARNING, the term warms up as long as this training lasts, or longer: it has no effect"
        elif not joins:
            told = "the term takes part from the start"
        elif self.current_epoch > 0 and self.current_epoch >= joins:
            told = f"the term takes part already: its warm-up was over in epoch {joins:g}"
        else:
            told = f"the term joins in epoch {joins:g}, when train_loss rises by what it adds"
        self.print_to_log_file(f"DQE: {told}; val_loss holds it from the start")

    def get_training_transforms(self, *arguments: Any, **options: Any) -> Any:
        """nnU-Net's augmentation, with the image kept that is rated."""
        return keep_image(super().get_training_transforms(*arguments, **options), self.dqe_fit.masked)

    def get_validation_transforms(self, *arguments: Any, **options: Any) -> Any:
        """nnU-Net's, with the image kept that is rated."""
        return keep_image(super().get_validation_transforms(*arguments, **options), self.dqe_fit.masked)

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """nnU-Net's step, with the batch's image bound to the loss."""
        result: dict[str, Any] = super().train_step(self._bind(batch))
        return result | self.term.figures() | {PATCHES: len(batch["data"])}

    def validation_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """nnU-Net's step, with the batch's image bound to the loss."""
        result: dict[str, Any] = super().validation_step(self._bind(batch))
        return result | self.term.figures() | {PATCHES: len(batch["data"])}

    def _bind(self, batch: dict[str, Any]) -> dict[str, Any]:
        data, image = split_kept(batch["data"], len(self.dqe_fit.masked))
        self.term.forget()
        # Not in the warm-up: then predictions are rated to check them, if at all, and not by all processes alike.
        joined = self.criterion.steps_done >= self.term.warmup
        self.term.shared = self.is_ddp and (joined or not torch.is_grad_enabled())
        self.loss.bind(image=image.to(self.device, non_blocking=True))
        return {**batch, "data": data}

    def on_train_epoch_end(self, train_outputs: list[dict[str, Any]]) -> None:
        """Log what nnU-Net logs, and what the term did."""
        super().on_train_epoch_end(train_outputs)
        figures = mean_figures(train_outputs, self.is_ddp)
        self._log(figures | {"stars_train": figures["stars"]})

    def on_validation_epoch_end(self, val_outputs: list[dict[str, Any]]) -> None:
        """Log what nnU-Net logs, and the predictions' stars."""
        super().on_validation_epoch_end(val_outputs)
        self._log({"stars_val": mean_figures(val_outputs, self.is_ddp)["stars"]})
        values = {name: self.logger.get_value(name, step=-1) for name in SERIES}
        told = [f"{words} {values[name]:.3g}" for name, words in SERIES.items() if not math.isnan(values[name])]
        self.print_to_log_file(f"DQE: {'; '.join(told)}")

    def _log(self, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            if f"dqe_{name}" in SERIES:
                self.logger.log(f"dqe_{name}", value, self.current_epoch)

    def save_checkpoint(self, filename: str) -> None:
        """Save as nnU-Net does, whole or not at all, under the name of the trainer whose network it is."""
        if self.local_rank != 0 or self.disable_checkpointing:
            super().save_checkpoint(filename)
            return
        temporary = f"{filename}.part"
        super().save_checkpoint(temporary)
        finish_checkpoint(temporary, filename, type(self))

    def load_checkpoint(self, filename_or_checkpoint: Any) -> None:
        """Load as nnU-Net does, and go on with the warm-up where it stood."""
        super().load_checkpoint(filename_or_checkpoint)
        self.criterion.steps_done = self.current_epoch * self.num_iterations_per_epoch


class nnUNetTrainerDQE_noGuard(nnUNetTrainerDQE):  # noqa: N801
    """Without the guard by the target: the gradient is held back by the checkpoint's refiner and the cap alone."""

    dqe_options: Mapping[str, Any] = {"guard": None}


class nnUNetTrainerDQE_smallPatches(nnUNetTrainerDQE):  # noqa: N801
    """For patches below 96 voxels: they are padded and rated all the same, less truly, if they hold any tumor."""

    dqe_options: Mapping[str, Any] = {"on_small": "pad"}


class nnUNetTrainerDQE_250epochs(nnUNetTrainerDQE):  # noqa: N801
    """A training of 250 epochs."""

    dqe_epochs = 250
