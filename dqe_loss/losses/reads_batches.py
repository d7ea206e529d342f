"""How a loss reads its batches: which options say what is given, and what of it can be rated."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dqe_loss.core.checks import check_image, says_something
from dqe_loss.core.layout import Layout
from dqe_loss.core.mask import center_of_mask
from dqe_loss.core.origin import check_origin
from dqe_loss.core.pipeline import Sampling
from dqe_loss.core.tensors import cannot_wait, is_flat, plain, refuse_origin, thicken
from dqe_loss.losses.gradients import GradientLog
from dqe_loss.losses.holds_surrogate import HoldsSurrogate
from dqe_loss.losses.rated_batch import RatedBatch, can_be_rated, is_large_enough, read_batch, told_of_small
from dqe_loss.losses.terms import full_resolution
from dqe_loss.surrogate.rating import check_devices

Prediction = Tensor | Sequence[Tensor]
"""What a network puts out; with deep supervision a sequence, full resolution first."""


class ReadsBatches(HoldsSurrogate):
    """The part of a `dqe_loss.DQELoss` that reads, whose options these are.

    Attributes:
        layout: what channels and labels are.
        sampling: which planes are cut.
        activation: ``"sigmoid"``, ``"softmax"``, ``"none"``, or None: what the losses beside it say.
        slicing: ``"soft"`` or ``"hard"``.
        center: ``"prediction"`` or ``"target"``.
        center_grad: whether gradient flows through where the planes lie, if the checkpoint allows it.
        on_small: ``"skip"``, ``"pad"`` or ``"error"``.
        training: of the module.
    """

    layout: Layout
    sampling: Sampling
    activation: str | None
    slicing: str
    center: str
    center_grad: bool
    on_small: str
    training: bool
    _checked: set[bool]

    def read(
        self,
        input: Prediction,
        target: Any,
        image: Tensor,
        origin: Any,
        log: GradientLog | None = None,
        activation: str | None = None,
        *,
        check: bool = False,
    ) -> RatedBatch:
        """Read a batch; values are looked at where ``check`` says so, or nothing was seen in this mode yet.

        Raises:
            ValueError: if something is not as `forward` takes it.
        """
        prediction, whole = full_resolution(input), full_resolution(target)
        if self.center == "target" and whole is None:
            raise ValueError("center='target' looks where the target's tumor is: pass target=")
        if flat := is_flat(image, prediction):
            refuse_origin(origin)
            if self.sampling.planes > 1 or self.sampling.jitter > 0:
                raise ValueError(
                    f"planes={self.sampling.planes}, jitter={self.sampling.jitter} move planes through a volume, but "
                    "the prediction (B, R, H, W) is planes already: leave both out"
                )
            prediction, whole, image = thicken(prediction), thicken(whole), thicken(image)
        check_devices(self.surrogate, prediction=prediction, image=image)
        first = not cannot_wait(prediction) and (check or not self.checked)
        if first and origin is not None:
            check_origin(origin, prediction, image)
        batch = read_batch(
            plain(prediction),
            None if whole is None else plain(whole),
            plain(image),
            origin,
            activation=self.activation or activation,
            layout=self.layout,
            hard=self.slicing == "hard",
            guarded=log,
            check=first,
            flat=flat,
        )
        if first:
            check_image(image, self.layout.modalities, self.task.spacing, None if origin is not None else whole)
            # An empty crop, or a head that starts at 0, says nothing of what later batches hold: look again.
            if bool(image.any()) and says_something(prediction) and (whole is None or bool(whole.any())):
                self._checked.add(self.training)
        return batch

    def center_of(self, batch: RatedBatch) -> Tensor:
        """Where planes are cut, ``(B, 3)``; with a gradient where one is to be followed."""
        seen = batch.predicted if self.center == "prediction" or batch.target is None else batch.target
        followed = self.center_grad and self.surrogate.config.center_gradient
        with torch.set_grad_enabled(followed and torch.is_grad_enabled()):
            return center_of_mask(seen, hard=self.slicing == "hard", regions=self.task.centers)

    def can_be_rated(self, batch: RatedBatch) -> Tensor:
        """Which exams are rated, boolean ``(B,)``.

        Raises:
            ValueError: if there is one that cannot be, and ``on_small="error"``.
        """
        if self.on_small == "pad":
            return torch.ones(batch.predicted.shape[0], dtype=torch.bool, device=self.surrogate.device)
        if self.on_small == "skip" and not is_large_enough(batch, self.smallest_crop):
            self._tell_once("small", told_of_small(batch, self.smallest_crop))
        return can_be_rated(batch, self.task, self.smallest_crop, self.surrogate.device, self.on_small == "error")

    @property
    def smallest_crop(self) -> int:
        """Smallest side in voxels of a crop, or of a plane, that is rated without its surroundings."""
        return self.task.smallest_crop

    @property
    def checked(self) -> bool:
        """Whether values were looked at in this mode, training or evaluation, in a batch that could tell."""
        return self.training in self._checked

    def _no_stars(self, batch: Tensor) -> Tensor:
        """NaN for each view of each exam of a batch of volumes, or of planes."""
        shape = (len(batch), 1 if batch.ndim == 4 else len(self.sampling.views))
        return torch.full(shape, torch.nan, device=batch.device, dtype=self.surrogate.dtype)
