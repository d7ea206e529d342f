"""A refiner that is taught while a network trains on the loss, so that the judge keeps up with the judged."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed

from dqe_loss.core.checks import tell
from dqe_loss.core.planes import split_planes
from dqe_loss.harden.config import HardenConfig
from dqe_loss.harden.online_round import teach_round
from dqe_loss.harden.shown import ShownPlanes, show
from dqe_loss.losses.bound import BoundLoss
from dqe_loss.losses.dqe import DQELoss
from dqe_loss.losses.reads_batches import Prediction
from dqe_loss.losses.sum import LossSum
from dqe_loss.surrogate.checkpoint import fingerprint
from dqe_loss.surrogate.network import Surrogate
from dqe_loss.surrogate.refiner import Refiner
from dqe_loss.train.saved_state import Row

TAUGHT = "; its refiner then taught on what a network in training made of exams with references"
"""What a checkpoint says of its data from the first round on that was kept."""


class OnlineHardening:
    """Teaches the refiner of a `DQELoss` on the network's own outputs for labelled exams, every few epochs.

    A network that trains on the loss changes, and finds masks that the refiner has never seen. `step` looks at
    what the network makes of labelled batches, in the planes that the loss looks at; `epoch_end` teaches the refiner
    where these masks are wrong, in place: the next epoch's loss is judged by what was learned. Masks that are right,
    wrong in other ways, or changed to please the refiner are mixed in, so that it forgets nothing.

    The loss gets a surrogate of its own when this is made, shared by the terms of the criterion alone: metrics, other
    losses, and what you hold rate as before, so that a validation stays comparable. ``criterion.to(device)`` may come
    before or after. In a distributed training the first process teaches, on its own batches, and the others get its
    weights; `epoch_end` must be called in all of them.

    A round that leaves the refiner worse on the planes that were held back is undone.

    Args:
        criterion: the sum of losses, bound or not, or the `DQELoss` alone.
        every: epochs from one round to the next.
        steps: steps of the optimizer in a round; on a CPU each takes about as long as one of ``dqe harden``.
        batch: planes a step.
        learning_rate: peak rate of a round (AdamW, begun anew in each).
        predictions_share: how often a mask is the network's own.
        room: most planes of an epoch to be remembered; one of gliomas takes 1 MB.
        planes: planes of each view that are looked at in a step: through the prediction's center, and others near it.
        jitter: standard deviation in voxels of the others' distance from the center.
        seed: of all that is random.

    Raises:
        ValueError: if there is no `DQELoss`, or none whose checkpoint has a refiner, terms have different
            checkpoints, or an option is not as said.

    Example:
        >>> from dqe_loss.harden.online import OnlineHardening
        >>> keep_up = OnlineHardening(criterion, every=5)  # doctest: +SKIP
        >>> for batch in loader:  # doctest: +SKIP
        ...     logits = network(batch["normalized"])
        ...     criterion(logits, batch["regions"], image=batch["image"]).backward()
        ...     keep_up.step(logits, batch["regions"], image=batch["image"])
        >>> print(keep_up.epoch_end())  # doctest: +SKIP
    """

    def __init__(
        self,
        criterion: LossSum | BoundLoss | DQELoss,
        *,
        every: int = 5,
        steps: int = 100,
        batch: int = 12,
        learning_rate: float = 2e-4,
        predictions_share: float = 0.5,
        room: int = 96,
        planes: int = 2,
        jitter: float = 8.0,
        seed: int = 0,
    ) -> None:
        for name, value in (("every", every), ("room", room), ("planes", planes)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        # The course of rate and attacks in a round is that of a hardening; it checks the options that they share.
        self.config = HardenConfig(
            steps=steps,
            batch=batch,
            learning_rate=learning_rate,
            predictions_share=predictions_share,
            attack_from=0.0,
            seed=seed,
        )
        self.every, self.planes, self.jitter = every, planes, jitter if planes > 1 else 0.0
        self._terms = [part for part in criterion.modules() if isinstance(part, DQELoss)]
        sums = [part for part in criterion.modules() if isinstance(part, LossSum)]
        self._activation = sums[0].activation if sums else None
        self._start = _common_fingerprint(self._terms)
        own = copy.deepcopy(self._terms[0].surrogate)
        for term in self._terms:
            term.use(own)
        self.epoch, self.rounds, self.taught = 0, 0, False
        self.log: list[Row] = []
        self._shown = ShownPlanes(own.config.task, room)
        self._calls = 0
        self._told = False

    @property
    def surrogate(self) -> Surrogate:
        """The surrogate that the loss rates with; `dqe_loss.save_surrogate` keeps it."""
        return self._terms[0].surrogate

    def step(self, input: Prediction, target: Any, *, image: Tensor, origin: Any = None) -> None:
        """Look at what the network made of a labelled batch; call it after the loss, with the same arguments.

        Nothing is done in epochs that no round follows.

        Args:
            input: the prediction.
            target: the target.
            image: the image.
            origin: where a patch lies, see `DQELoss.forward`.

        Raises:
            ValueError: if a shape is not as said, or there is no target.
        """
        if (self.epoch + 1) % self.every:
            return
        seed = (self.config.seed, self.epoch, self._calls)
        self._calls += 1
        rng = np.random.default_rng(seed)
        term = self._terms[0]
        flat = image.ndim == 4
        with torch.autocast(image.device.type, enabled=False):
            planes, truth = show(
                term,
                input,
                target,
                image=image,
                origin=origin,
                activation=self._activation,
                planes=1 if flat else self.planes,
                jitter=0.0 if flat else self.jitter,
                seed=int(rng.integers(2**31)),
            )
        scans, masks = split_planes(self.surrogate.config, planes)
        finite = masks.isfinite().flatten(1).all(1)  # a network that has diverged teaches nothing
        self._shown.add(scans[finite], masks[finite], truth[finite], rng)

    def epoch_end(self) -> Row | None:
        """Count an epoch; teach, if a round is due.

        Returns:
            None if no round was due or there was nothing to teach on. Else what is added to `log`: ``epoch``, ``round``
            and ``planes``. Means over the round's steps: ``loss``, ``mask_dice`` of all masks shown, ``refined_dice``
            of what the refiner made of them, ``attack_gain``. In planes that were held back: ``network``, agreement of
            the network's masks with the references; ``judge_error_before`` and ``judge_error``, by how much the
            refiner's agreement with these masks misses that; ``right_before`` and ``right``, its agreement with the
            references themselves. ``kept`` is 0 if the round was undone.
        """
        self.epoch += 1
        self._calls = 0
        if self.epoch % self.every:
            return None
        row = None
        if _rank() == 0:
            row = self._teach() if self._shown.kept else None
            if row is None and not self._told:
                self._told = True
                tell("OnlineHardening has nothing to teach on: call step(logits, target, image=image) in each step")
        self._shown.clear()
        self.rounds += 1
        for refiner in self._refiners:
            _from_first_process(*refiner.state_dict().values())
        kept = torch.tensor(float(row is not None and bool(row["kept"])), device=self.surrogate.device)
        _from_first_process(kept)
        self.taught |= bool(kept)
        self._mark()
        if row is not None:
            self.log.append(row)
        return row

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs beside the criterion's own state, to be taken after `epoch_end`."""
        return {
            "epoch": self.epoch,
            "rounds": self.rounds,
            "taught": self.taught,
            "start": self._start,
            "log": [dict(row) for row in self.log],
            "refiner": {name: value.detach().cpu().clone() for name, value in self._refiners[0].state_dict().items()},
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where another training was: its refiner becomes the loss's.

        Raises:
            ValueError: if that training began with another checkpoint.
        """
        if state_dict["start"] != self._start:
            raise ValueError(
                f"the state is of a training that began with the checkpoint {state_dict['start']}, and that of this "
                f"criterion is {self._start}; make the DQELoss with the same checkpoint"
            )
        self.epoch, self.rounds, self.taught = (state_dict[name] for name in ("epoch", "rounds", "taught"))
        self.log = [dict(row) for row in state_dict["log"]]
        for refiner in self._refiners:
            refiner.load_state_dict(state_dict["refiner"])
        self._mark()

    @property
    def _surrogates(self) -> list[Surrogate]:
        """Each once: terms that were moved apart have copies of their own."""
        return list({id(term.surrogate): term.surrogate for term in self._terms}.values())

    @property
    def _refiners(self) -> list[Refiner]:
        return [one.refiner for one in self._surrogates if one.refiner is not None]

    def _teach(self) -> Row:
        first, *others = self._refiners
        seed = int(np.random.default_rng((self.config.seed, self.rounds)).integers(2**31))
        row = teach_round(first, self._shown, replace(self.config, seed=seed))
        for other in others:
            other.load_state_dict(first.state_dict())
        return {"epoch": self.epoch, "round": self.rounds + 1, **row}

    def _mark(self) -> None:
        """Let the surrogates say what they are (contract C12)."""
        for surrogate in self._surrogates:
            if self.taught and not surrogate.config.data.endswith(TAUGHT):
                data = f"{surrogate.config.data or 'its data is not known'}{TAUGHT}"
                surrogate.config = replace(surrogate.config, data=data, dice_map=None)


def _common_fingerprint(terms: list[DQELoss]) -> str:
    """The one checkpoint of all terms.

    Raises:
        ValueError: if there is no term, one has no refiner, or they have different checkpoints.
    """
    if not terms:
        raise ValueError("expected a criterion that holds a DQELoss, as in DiceLoss(sigmoid=True) + 0.1 * DQELoss()")
    if any(term.surrogate.refiner is None for term in terms):
        raise ValueError(
            "OnlineHardening teaches a checkpoint's refiner, and this one has none; take 'hardened', or give yours one "
            "by dqe harden"
        )
    found = {fingerprint(term.surrogate) for term in terms}
    if len(found) > 1:
        raise ValueError("OnlineHardening teaches one checkpoint, and the terms of this criterion have several")
    return found.pop()


def _has_others() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _rank() -> int:
    return distributed.get_rank() if _has_others() else 0


def _from_first_process(*tensors: Tensor) -> None:
    if _has_others():
        for tensor in tensors:
            distributed.broadcast(tensor, 0)
