"""The state of a training, kept so that a continuation computes what an unbroken run would have."""

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from dqe_loss.outputs import write_together
from dqe_loss.resume import check_same

Row = dict[str, float]
"""What the log says of one epoch."""


@dataclass
class Progress:
    """How far a training is.

    Attributes:
        epoch: epochs that are done.
        step: steps of the next one that are done, too.
        loss: sum of the losses of these steps.
        best: lowest validation MAE (of a hardening: distance on held-out exams) so far; infinite before there is one.
        rows: the log, a row for each epoch that is done.
    """

    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    best: float = float("inf")
    rows: list[Row] = field(default_factory=list)


def save_state(
    path: Path, network: nn.Module, optimizer: Optimizer, progress: Progress, fingerprint: Mapping[str, Any]
) -> None:
    """Write the state atomically: a full disk or a kill leaves the former one.

    Args:
        path: file to write.
        network: weights and batch statistics.
        optimizer: its moments and counters.
        progress: how far the training is.
        fingerprint: what a continuation must share with this run, JSON-ready.
    """
    content = io.BytesIO()
    state = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": asdict(progress),
        "fingerprint": dict(fingerprint),
    }
    torch.save(state, content)
    write_together({path: content.getvalue()})


def load_state(path: Path, network: nn.Module, optimizer: Optimizer, fingerprint: Mapping[str, Any]) -> Progress:
    """Read a state back into network and optimizer.

    Args:
        path: file that `save_state` wrote.
        network: gets the weights.
        optimizer: gets moments and counters.
        fingerprint: of this run.

    Returns:
        How far the training was.

    Raises:
        ValueError: if the file is not there or damaged, or the run was another one; naming what differs.
    """
    if not path.is_file():
        raise ValueError(f"{path}: nothing to resume; leave --resume out to start")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        then = state["fingerprint"]
    except Exception as error:  # torch raises half a dozen types for a damaged file
        raise ValueError(f"{path}: a damaged state ({error}); start again in another --out") from error
    check_same(path, then, fingerprint, "a run", "give the same options, or another --out")
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    return Progress(**state["progress"])
