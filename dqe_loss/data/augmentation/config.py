"""What augmentation does how often and how strongly: every number in one dataclass, each with its source.

The paper names thirteen transforms and neither a probability nor a magnitude (section "Training"). *Library* below is
the default of the library that the paper took the transform from; *nnU-Net* is what that pipeline, of the authors of
batchgenerators, uses; *ours* was set by eye on planes of the phantom (``examples/plot_augmentation.py``), so that
an artifact is plain to see and the tumor stays readable.
"""

import math
from dataclasses import dataclass, replace
from numbers import Integral, Real

TRANSFORMS = (
    "flip",
    "affine",
    "elastic",
    "bias_field",
    "contrast",
    "brightness",
    "gamma",
    "motion",
    "ghosting",
    "spike",
    "low_resolution",
    "noise",
    "rician",
)
"""All transforms in the order in which they act: the head, the coil, the contrast, the acquisition, its noise."""

_INFINITE = math.inf
# Lowest and highest value that makes sense, for ends of ranges and for single numbers.
_LIMITS = {
    "scan_probability": (0, 1),
    "rotation": (-180, 180),
    "scaling": (0.1, 10),
    "shear": (-1, 1),
    "translation": (-_INFINITE, _INFINITE),
    "elastic_spacing": (2, _INFINITE),
    "elastic_magnitude": (0, _INFINITE),
    "bias_field_coefficients": (-5, 5),
    "bias_field_order": (0, 10),
    "contrast": (0, _INFINITE),
    "brightness": (0, _INFINITE),
    "gamma": (0.01, 100),
    "motion_rotation": (-180, 180),
    "motion_translation": (-_INFINITE, _INFINITE),
    "motion_movements": (1, 100),
    "ghosting_count": (1, _INFINITE),
    "ghosting_intensity": (0, 1),
    "ghosting_restore": (0, 1),
    "spike_count": (1, 100),
    "spike_intensity": (-_INFINITE, _INFINITE),
    "low_resolution_zoom": (0.05, 1),
    "noise_deviation": (0, _INFINITE),
    "rician_deviation": (0, _INFINITE),
}
_WHOLE = ("elastic_spacing", "bias_field_order", "motion_movements", "ghosting_count", "spike_count")


@dataclass(frozen=True)
class AugmentationConfig:
    """Probabilities and magnitudes of all transforms; pairs are ranges that are drawn from uniformly.

    A probability is that of a plane. The mean intensity of a scan inside the brain is the unit of noise, so that a
    dim scan (all four share one scaling) is not drowned where a bright one is hardly touched.

    Raises:
        ValueError: naming the field, what was expected and what came.
    """

    enabled: bool = True
    """Off: planes stay as they are."""
    scan_probability: float = 0.5
    """Motion, ghosting, spikes and low resolution strike each scan by itself with this probability, and at least one:
    a patient moves during one sequence. TorchIO strikes all channels of an image; nnU-Net lowers resolution so."""

    flip_probability: float = 0.75
    """Ours: along the first axis, the second, or both, equally likely, so that 3/4 makes all four alike."""
    flip_axes: tuple[int, ...] = (0, 1)
    """Ours: both. Axis 0 is left-right in axial and coronal planes, front-back in sagittal ones."""

    affine_probability: float = 0.3
    """Ours; nnU-Net rotates and scales with 0.2 each."""
    rotation: tuple[float, float] = (-15.0, 15.0)
    """Degrees; ours, nnU-Net's for thick slices."""
    scaling: tuple[float, float] = (0.9, 1.1)
    """Factor of size, drawn for each axis; ours. Heads differ by about that, and none leaves the plane."""
    shear: tuple[float, float] = (-0.05, 0.05)
    """Ours."""
    translation: tuple[float, float] = (-8.0, 8.0)
    """Voxels; ours."""

    elastic_probability: float = 0.2
    """Ours, as nnU-Net's other deformations."""
    elastic_spacing: int = 32
    """Voxels between control points; ours: about a gyrus and its neighbors."""
    elastic_magnitude: tuple[float, float] = (1.0, 3.0)
    """Standard deviation in voxels of a control point's move; ours: a tenth of the spacing does not fold."""

    bias_field_probability: float = 0.15
    """Ours."""
    bias_field_coefficients: tuple[float, float] = (-0.3, 0.3)
    """Of the polynomial in the exponent; ours (library: -0.5 to 0.5, up to 20 times as bright in a corner)."""
    bias_field_order: int = 3
    """Library."""

    contrast_probability: float = 0.15
    """nnU-Net."""
    contrast: tuple[float, float] = (0.75, 1.25)
    """Factor of the distance from the scan's mean; library and nnU-Net."""
    brightness_probability: float = 0.15
    """nnU-Net."""
    brightness: tuple[float, float] = (0.75, 1.25)
    """Factor of intensity; nnU-Net (library: 0.5 to 2, which clips most of a bright scan)."""
    gamma_probability: float = 0.2
    """Ours (nnU-Net: 0.3, and 0.1 of inverted images)."""
    gamma: tuple[float, float] = (0.7, 1.5)
    """Exponent of intensity between a scan's minimum and maximum; nnU-Net (library: 0.5 to 2)."""

    motion_probability: float = 0.1
    """Ours: the dearest transform of all."""
    motion_rotation: tuple[float, float] = (-5.0, 5.0)
    """Degrees in the plane; ours (library: 10)."""
    motion_translation: tuple[float, float] = (-5.0, 5.0)
    """Voxels in the plane; ours (library: 10)."""
    motion_movements: int = 2
    """Library."""
    ghosting_probability: float = 0.1
    """Ours."""
    ghosting_count: tuple[int, int] = (4, 10)
    """Ghosts; library."""
    ghosting_intensity: tuple[float, float] = (0.5, 1.0)
    """What is missing of every n-th line of k-space; library."""
    ghosting_restore: float = 0.02
    """Share of k-space around its middle that is kept; ours (library: the middle line alone)."""
    spike_probability: float = 0.1
    """Ours."""
    spike_count: tuple[int, int] = (1, 1)
    """Library."""
    spike_intensity: tuple[float, float] = (0.05, 0.25)
    """Height of a spike over that of k-space's peak; ours (library: 1 to 3, and from 0.4 on stripes bury the tumor)."""
    low_resolution_probability: float = 0.2
    """Ours (nnU-Net: 0.25)."""
    low_resolution_zoom: tuple[float, float] = (0.5, 1.0)
    """Resolution that is left; library and nnU-Net."""

    noise_probability: float = 0.15
    """Ours (MONAI, nnU-Net: 0.1)."""
    noise_deviation: tuple[float, float] = (0.0, 0.15)
    """Standard deviation over the scan's mean; ours (MONAI: up to 0.1 of the network's units)."""
    rician_probability: float = 0.15
    """Ours (library: 1)."""
    rician_deviation: tuple[float, float] = (0.0, 0.15)
    """Standard deviation of either component over the scan's mean; ours (library: up to 0.1 of the network's units)."""

    def __post_init__(self) -> None:
        """Check every number, and take lists (of a YAML or JSON file) as tuples.

        Raises:
            ValueError: naming the field, what was expected and what came.
        """
        for name, value in vars(self).items():
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
        if not isinstance(self.enabled, bool):
            raise ValueError(f"enabled: expected true or false, got {self.enabled!r}")
        if not self.flip_axes or not set(self.flip_axes) <= {0, 1} or len(set(self.flip_axes)) < len(self.flip_axes):
            raise ValueError(f"flip_axes: expected 0, 1 or both, each once, got {self.flip_axes!r}")
        limits = {**{f"{name}_probability": (0, 1) for name in TRANSFORMS}, **_LIMITS}
        for name, (low, high) in limits.items():
            _check(name, getattr(self, name), paired=isinstance(getattr(type(self), name), tuple), low=low, high=high)

    def probability(self, transform: str) -> float:
        """How likely one of `TRANSFORMS` is."""
        return float(getattr(self, f"{transform}_probability"))

    def only(self, *transforms: str) -> "AugmentationConfig":
        """The same magnitudes, where the transforms named always happen and no other ever does.

        Raises:
            ValueError: if there is no such transform.
        """
        unknown = set(transforms) - set(TRANSFORMS)
        if unknown:
            raise ValueError(f"no transform is called {', '.join(sorted(unknown))}; there are {', '.join(TRANSFORMS)}")
        probabilities = {f"{name}_probability": float(name in transforms) for name in TRANSFORMS}
        return replace(self, **probabilities)  # type: ignore[arg-type]  # every field of that name is a float


def _check(name: str, value: object, *, paired: bool, low: float, high: float) -> None:
    kind = Integral if name in _WHOLE else Real
    numbers = value if paired and isinstance(value, tuple) else (value,)
    ordered = len(numbers) == 1 + paired and all(
        isinstance(number, kind) and not isinstance(number, bool) and low <= number <= high and math.isfinite(number)  # type: ignore[operator]
        for number in numbers
    )
    if ordered and list(numbers) == sorted(numbers):
        return
    what = "whole number" if kind is Integral else "number"
    shape = f"a pair (lowest, highest) of {what}s" if paired else f"a {what}"
    bounds = "" if math.isinf(low) else f" from {low:g}" + ("" if math.isinf(high) else f" to {high:g}")
    raise ValueError(f"{name}: expected {shape}{bounds}, got {value!r}")
