"""The loss as nnU-Net's batches need it: in its axes, of its channels, and with figures for its log."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

from dqe_loss.integrations.nnunet.figures import FIGURES
from dqe_loss.integrations.nnunet.fit import Fit
from dqe_loss.losses.dqe import DQELoss
from dqe_loss.losses.missing_stars import mean_of_rated
from dqe_loss.losses.rated_batch import RatedBatch, is_occupied
from dqe_loss.surrogate.network import Surrogate


class NnunetTerm(DQELoss):
    """A `DQELoss` that takes nnU-Net's batches as they are.

    Args:
        fit: what the loss has to know of the data set.
        checkpoint: what `load_surrogate` takes.
        **options: those of `DQELoss`, except for what ``fit`` says.

    Attributes:
        shared: whether the next call rates this process's part of a batch that all processes of the group rate
            together: then its mean is one over the patches of all of them. All have to say the same.
    """

    def __init__(self, fit: Fit, checkpoint: str | Path | Surrogate, **options: Any) -> None:
        regions = fit.labels.regions
        super().__init__(
            checkpoint,
            sigmoid=bool(regions),
            softmax=not regions,
            region_order=regions or None,
            label_scheme=fit.labels.scheme,
            modalities=fit.modalities,
            **options,
        )
        self.fit = fit
        self.shared = False
        self._noted: dict[str, Tensor] = {}

    def evaluate(
        self,
        input: Tensor,
        target: Tensor | None,
        image: Tensor | None,
        origin: Any = None,
        *,
        activation: str | None = None,
        alone: bool = False,
    ) -> Tensor:
        """`DQELoss.evaluate` of a batch in nnU-Net's axes ``(B, C, ...)``."""
        turn = self.fit.orientation.to_file
        missing = super().evaluate(
            turn(self.fit.labels.logits_of(input)),
            None if target is None else turn(target),
            None if image is None else turn(self.fit.as_scanned(image)),
            origin,
            activation=activation,
            alone=alone,
        )
        if self.stars is not None:
            self._noted["stars"] = mean_of_rated(self.stars)
        return missing * self._weight_of_part(len(input)) if self.shared and self.reduction == "mean" else missing

    def _weight_of_part(self, patches: int) -> Tensor:
        """What a mean over this process's rated patches counts, so that processes' mean is one over all rated ones.

        Without it, a process that can rate one of its two patches would weigh it as much as another weighs two.
        """
        own = self._noted["rated"] * patches
        total = own.clone()
        distributed.all_reduce(total)
        return own.clamp(min=1) * distributed.get_world_size() / total.clamp(min=1)

    def check_target(
        self, target: Tensor | None, image: Tensor | None, origin: Any = None, *, activation: str | None = None
    ) -> None:
        """`DQELoss.check_target` of a batch in nnU-Net's axes."""
        turn = self.fit.orientation.to_file
        self.forget()  # what an untrained network predicts was rated to check it, if at all
        scanned = None if image is None else turn(self.fit.as_scanned(image))
        super().check_target(None if target is None else turn(target), scanned, origin, activation=activation)
        if "stars_of_target" in self.notes:
            self._noted["target_stars"] = self.notes["stars_of_target"]

    def forget(self) -> None:
        """Forget the last step's figures."""
        self._noted = {}
        self.gradient_log.clear()

    def figures(self) -> dict[str, float]:
        """What the last step did, see `FIGURES`. Waits for the device."""
        known = {name: float(value) for name, value in (self._noted | self.gradient_log.read()).items()}
        if not known.get("rated"):
            known = {"rated": known.get("rated", math.nan)}
        return {name: known.get(name, math.nan) for name in FIGURES}

    def can_be_rated(self, batch: RatedBatch) -> Tensor:
        """`DQELoss.can_be_rated`, and noted; a target without a tumor has no stars here whatever ``on_small`` says."""
        rated = super().can_be_rated(batch)
        if self.on_small == "pad" and batch.target is not None:
            rated = rated & is_occupied(batch.target, self.task).to(rated.device)
        self._noted["rated"] = rated.to(torch.float32).mean()
        return rated
