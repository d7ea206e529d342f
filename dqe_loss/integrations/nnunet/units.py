"""Intensities with a unit: what nnU-Net has normalized becomes the scan's again, for a surrogate with a window."""

from typing import Any, NamedTuple

from dqe_loss.task import Task


class Units(NamedTuple):
    """How a channel's values become those of the scan: ``factor * value + offset``."""

    factor: float
    offset: float


def units_of(plans: Any, configuration: Any, task: Task) -> tuple[Units, ...]:
    """How each channel becomes the scan again; nothing where the surrogate scales each image by itself.

    nnU-Net clips CT to bounds that it has found in the training exams, and takes their mean and standard deviation. The
    latter can be undone; what was clipped is lost, and must lie outside the task's window.

    Args:
        plans: nnU-Net's ``PlansManager``.
        configuration: its ``ConfigurationManager``.
        task: what the surrogate rates.

    Raises:
        ValueError: if a channel is normalized in another way, or clipped within the window.
    """
    if task.window is None:
        return ()
    schemes = enumerate(configuration.normalization_schemes)
    return tuple(_units(channel, name, plans, task.window) for channel, name in schemes)


def _units(channel: int, normalization: str, plans: Any, window: tuple[float, float]) -> Units:
    low, high = window
    if normalization == "NoNormalization":
        return Units(1.0, 0.0)
    if normalization != "CTNormalization":
        raise ValueError(
            f"channel {channel} is normalized by {normalization}, which loses the unit of its scan, but the surrogate "
            f"has a window of {low:g} to {high:g}; call the channel CT or noNorm in dataset.json, and plan and "
            "preprocess again"
        )
    known = plans.foreground_intensity_properties_per_channel[str(channel)]
    least, most = float(known["percentile_00_5"]), float(known["percentile_99_5"])
    if least > low or most < high:
        raise ValueError(
            f"channel {channel} is clipped to {least:g} to {most:g} by nnU-Net, but the surrogate's window is "
            f"{low:g} to {high:g}; call the channel noNorm in dataset.json, and plan and preprocess again, or train a "
            f"surrogate whose task has a window within these bounds, such as [{least:.0f}, {most:.0f}]"
        )
    return Units(float(known["std"]), float(known["mean"]))
