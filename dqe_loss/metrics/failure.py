"""Failure detection: do low ratings find the bad segmentations?

Segmentations are accepted from the best rated to the worst. *Coverage* is the share that is accepted, *risk* the mean
error among them (here ``1 - mean region Dice``), and the area under the risk-coverage curve (AURC) is small where
high ratings mean small errors. Source: Geifman, Uziel and El-Yaniv, "Bias-Reduced Uncertainty Estimation for Deep
Neural Classifiers", ICLR 2019 (arXiv 1805.08206), who define AURC and the excess over the best possible order; for
segmentation with a continuous risk see Zenk et al., "Comparative Benchmarking of Failure Detection Methods in Medical
Image Segmentation", 2024 (arXiv 2406.03323).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FailureDetection:
    """Areas under risk-coverage curves; all NaN if there was nothing to rank.

    Attributes:
        aurc: area of the given order; lower is better, the unit is that of the risk.
        optimal: area of the best order, by the risk itself.
        excess: ``aurc - optimal``, 0 for a perfect order.
        random: area of an order by chance, in expectation: the mean risk. An ``aurc`` above it is worse than chance.
    """

    aurc: float
    optimal: float
    excess: float
    random: float


def risk_coverage(risk: ArrayLike, confidence: ArrayLike) -> tuple[Array, Array]:
    """The risk-coverage curve.

    With ``r_1, ..., r_N`` the risks ordered by falling confidence, the risk at coverage ``k / N`` is
    ``(r_1 + ... + r_k) / k``. Equal confidences have no order: there the curve is the expectation over all orders,
    so that it does not depend on how the input was sorted (our choice; the source leaves it open).

    Args:
        risk: ``(N,)`` errors, 0 or above.
        confidence: ``(N,)`` confidence, here the predicted stars.

    Returns:
        Coverage ``k / N`` and risk at it, both ``(N,)``.

    Raises:
        ValueError: if the arrays are not finite and of one length, or a risk is negative.

    Example:
        >>> coverage, selected = risk_coverage([0.5, 0.0, 0.1], [2.0, 5.0, 4.0])
        >>> [round(float(value), 3) for value in selected]
        [0.0, 0.05, 0.2]
    """
    errors, scores = np.asarray(risk, dtype=np.float64), np.asarray(confidence, dtype=np.float64)
    if errors.ndim != 1 or errors.shape != scores.shape:
        raise ValueError(f"expected a confidence for each risk, got the shapes {errors.shape} and {scores.shape}")
    if not (np.isfinite(errors).all() and np.isfinite(scores).all()) or (errors < 0).any():
        raise ValueError("expected finite risks and confidences, and no risk below 0")
    _, level = np.unique(-scores, return_inverse=True)
    size = np.bincount(level)
    ordered = np.repeat(np.bincount(level, errors) / np.maximum(size, 1), size)
    accepted = np.arange(1, len(errors) + 1)
    return accepted / max(len(errors), 1), np.cumsum(ordered) / accepted


def failure_detection(risk: ArrayLike, confidence: ArrayLike) -> FailureDetection:
    """Areas under the risk-coverage curve: the mean of the risk over all N coverages, as the source defines it.

    Args:
        risk: ``(N,)`` errors, 0 or above.
        confidence: ``(N,)`` confidence.

    Returns:
        The areas.

    Raises:
        ValueError: as `risk_coverage`.
    """
    errors = np.asarray(risk, dtype=np.float64)
    selected = risk_coverage(errors, confidence)[1]
    if not len(selected):
        return FailureDetection(*[float("nan")] * 4)
    aurc, optimal = float(selected.mean()), float(risk_coverage(errors, -errors)[1].mean())
    return FailureDetection(aurc, optimal, aurc - optimal, float(errors.mean()))
