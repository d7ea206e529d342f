"""Dice lesion by lesion.

Lesions are matched one to one, by Dice, as the BraTS challenges match them. Missed and invented ones count 0 here. The
challenges' own package is under the AGPL, and is no part of this project.
"""

import numpy as np
import torch
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from torch import Tensor

TOUCHING = np.ones((3, 3, 3))
"""Voxels that touch by a face, an edge or a corner are of one lesion."""


def lesion_dice(found: Tensor, truth: Tensor) -> Tensor:
    """Mean Dice of lesions.

    Args:
        found: regions ``(R, X, Y, Z)``, boolean.
        truth: the reference, alike.

    Returns:
        ``(R,)`` in [0, 1]; 1 where there is no lesion in either.
    """
    return torch.tensor([_of_region(one.numpy(), other.numpy()) for one, other in zip(found, truth, strict=True)])


def _of_region(found: np.ndarray, truth: np.ndarray) -> float:
    ours, count = ndimage.label(found, TOUCHING)
    theirs, lesions = ndimage.label(truth, TOUCHING)
    if not count or not lesions:
        return float(count == lesions)
    both = np.bincount((theirs * (count + 1) + ours).ravel(), minlength=(lesions + 1) * (count + 1))
    both = both.reshape(lesions + 1, count + 1)
    dice = 2 * both[1:, 1:] / (both[1:].sum(1)[:, None] + both[:, 1:].sum(0))
    rows, columns = linear_sum_assignment(dice, maximize=True)
    matched = dice[rows, columns]
    return float(matched.sum() / (lesions + count - (matched > 0).sum()))
