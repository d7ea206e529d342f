"""The same plane as another scanner would have seen it, or with less contrast agent."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dqe_loss.harden.smoothing import blur
from dqe_loss.task import Task

DILUTED, LARGEST_DILUTION = 0.4, 0.7
"""How often a plane is given less contrast agent, and the largest share of its effect that is taken away."""
GAIN = 0.08
"""Standard deviation of the logarithm of a scan's brightness beside its plane's mean."""


def rescan(scans: Tensor, rng: np.random.Generator, task: Task) -> Tensor:
    """Change contrast, field and grain of each modality; air stays 0, and the mean over the head nearly what it is."""
    air = scans == 0
    scans = scans.clone()
    if task.contrast and rng.random() < DILUTED:
        dilute(scans, float(rng.uniform(0, LARGEST_DILUTION)), task)
    before = _head_mean(scans, air)
    curve = np.exp(rng.normal(0, 0.25, (len(scans), 1, 1))).astype(np.float32)
    offset = rng.normal(0, 0.03, (len(scans), 1, 1)).astype(np.float32)
    scans.clamp_(min=0).pow_(torch.from_numpy(curve)).add_(torch.from_numpy(offset))
    if rng.random() < 0.5:
        field = torch.from_numpy(rng.normal(0, 0.15, (1, len(scans), 4, 4)).astype(np.float32))
        scans *= F.interpolate(field, scans.shape[1:], mode="bicubic", align_corners=False)[0].exp()
    if rng.random() < 0.3:
        width = float(rng.uniform(0.3, 1.0))
        scans.lerp_(blur(scans, 3), width)
    if rng.random() < 0.5:
        grain = float(rng.uniform(0, 0.05))
        scans.add_(torch.from_numpy(rng.standard_normal(scans.shape, dtype=np.float32)), alpha=grain)
    # Contrast changes the mean, which the scaling divides by: it is given back, but for what the window cannot know.
    jitter = torch.from_numpy(np.exp(rng.normal(0, GAIN, (len(scans), 1, 1))).astype(np.float32))
    scans *= jitter * before / _head_mean(scans, air).clamp(min=1e-3)
    return scans.clamp_(0, 1).masked_fill_(air, 0)


def _head_mean(scans: Tensor, air: Tensor) -> Tensor:
    """Mean of each scan over what is not air: ``(C, 1, 1)``."""
    return scans.masked_fill(air, 0).sum((1, 2), keepdim=True) / (~air).sum((1, 2), keepdim=True).clamp(min=1)


def dilute(scans: Tensor, share: float | Tensor, task: Task) -> None:
    """Take a share of what the contrast agent did away, in place: many tumors hardly enhance.

    Args:
        scans: ``(C, H, W)`` in [0, 1].
        share: in [0, 1], one for the plane or ``(H, W)``.
        task: whose `contrast` names the scan, and the one without contrast agent that it is drawn to.
    """
    enhanced, plain = (scans[task.modalities.index(name)] for name in task.contrast)
    brain = (enhanced > 0) & (plain > 0)
    if brain.any():
        gain = enhanced[brain].median() / plain[brain].median().clamp(min=1e-3)
        without = plain * gain.clamp(max=3)
        enhanced.copy_(torch.where(brain, enhanced + share * (without - enhanced), enhanced))
