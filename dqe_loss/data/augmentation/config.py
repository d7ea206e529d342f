"""What augmentation does how often and how strongly: every number in one dataclass, each with its source.

The paper names thirteen transforms and neither a probability nor a magnitude (section "Training"). In brackets stands
where a number comes from: MONAI, TorchIO or batchgenerators, whose default it is; nnU-Net, the pipeline of
batchgenerators' authors; or *ours*, set by eye on planes of the phantom (``examples/plot_augmentation.py``), so that an
artifact is plain to see and the tumor stays readable.
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
    """Augment the planes at all."""
    scan_probability: float = 0.5
    """Chance of each scan that motion, ghosting, spikes or low resolution strike it; one at least (TorchIO: all)."""

    flip_probability: float = 0.75
    """Probability of mirroring along one axis, the other, or both (ours: at 3/4, four equal orientations)."""
    flip_axes: tuple[int, ...] = (0, 1)
    """Axes to mirror: 0 is left-right in axial and coronal planes, front-back in sagittal ones (ours: 0 and 1)."""

    affine_probability: float = 0.3
    """Probability of rotation, scaling, shear and translation together (ours; nnU-Net: 0.2 for rotation)."""
    rotation: tuple[float, float] = (-15.0, 15.0)
    """Angle of the rotation in degrees (ours: nnU-Net's for thick slices)."""
    scaling: tuple[float, float] = (0.9, 1.1)
    """Factor of the head's size, drawn for each axis (ours: heads differ by about that, and none leaves the plane)."""
    shear: tuple[float, float] = (-0.05, 0.05)
    """Shear, in voxels per voxel along the other axis (ours)."""
    translation: tuple[float, float] = (-8.0, 8.0)
    """Shift in voxels, drawn for each axis (ours)."""

    elastic_probability: float = 0.2
    """Probability of an elastic deformation (ours: that of nnU-Net's other deformations)."""
    elastic_spacing: int = 32
    """Distance of the deformation's control points in voxels (ours: about a gyrus and its neighbors)."""
    elastic_magnitude: tuple[float, float] = (1.0, 3.0)
    """Standard deviation of a control point's shift in voxels (ours: a tenth of the spacing does not fold it)."""

    bias_field_probability: float = 0.15
    """Probability of a bias field, the same for all scans (ours)."""
    bias_field_coefficients: tuple[float, float] = (-0.3, 0.3)
    """Coefficients of the polynomial whose exponential is the bias field (ours; TorchIO: -0.5 to 0.5)."""
    bias_field_order: int = 3
    """Order of that polynomial (TorchIO)."""

    contrast_probability: float = 0.15
    """Probability of a change of contrast (nnU-Net)."""
    contrast: tuple[float, float] = (0.75, 1.25)
    """Factor by which intensities move away from the scan's mean (batchgenerators and nnU-Net)."""
    brightness_probability: float = 0.15
    """Probability of a change of brightness (nnU-Net)."""
    brightness: tuple[float, float] = (0.75, 1.25)
    """Factor of the scan's intensities (nnU-Net; batchgenerators: 0.5 to 2, which clips most of a bright scan)."""
    gamma_probability: float = 0.2
    """Probability of a gamma correction (ours; nnU-Net: 0.3, and 0.1 for inverted images)."""
    gamma: tuple[float, float] = (0.7, 1.5)
    """Exponent of intensity between the scan's minimum and maximum (nnU-Net; batchgenerators: 0.5 to 2)."""

    motion_probability: float = 0.1
    """Probability of motion during the acquisition (ours: the slowest of all to compute)."""
    motion_rotation: tuple[float, float] = (-5.0, 5.0)
    """Rotation of each movement in degrees, within the plane (ours; TorchIO: 10)."""
    motion_translation: tuple[float, float] = (-5.0, 5.0)
    """Shift of each movement in voxels, within the plane (ours; TorchIO: 10)."""
    motion_movements: int = 2
    """Number of movements during a scan (TorchIO)."""
    ghosting_probability: float = 0.1
    """Probability of ghosts (ours)."""
    ghosting_count: tuple[int, int] = (4, 10)
    """Number of ghosts, lowest and highest (TorchIO)."""
    ghosting_intensity: tuple[float, float] = (0.5, 1.0)
    """Share of the signal that is missing in every n-th line of k-space (TorchIO)."""
    ghosting_restore: float = 0.02
    """Share of k-space around its center that keeps its signal (ours; TorchIO: the central line alone)."""
    spike_probability: float = 0.1
    """Probability of spikes in k-space, which draw stripes (ours)."""
    spike_count: tuple[int, int] = (1, 1)
    """Number of spikes, lowest and highest (TorchIO)."""
    spike_intensity: tuple[float, float] = (0.05, 0.25)
    """Height of a spike as a share of k-space's peak (ours; TorchIO: 1 to 3, but from 0.4 stripes bury the tumor)."""
    low_resolution_probability: float = 0.2
    """Probability of a lower resolution (ours; nnU-Net: 0.25)."""
    low_resolution_zoom: tuple[float, float] = (0.5, 1.0)
    """Factor of the resolution, 1 for the full one (batchgenerators and nnU-Net)."""

    noise_probability: float = 0.15
    """Probability of Gaussian noise (ours; MONAI and nnU-Net: 0.1)."""
    noise_deviation: tuple[float, float] = (0.0, 0.15)
    """Standard deviation as a share of the scan's mean in the brain (ours; MONAI: up to 0.1 of the network's units)."""
    rician_probability: float = 0.15
    """Probability of Rician noise, that of magnitude images (ours; batchgenerators: 1)."""
    rician_deviation: tuple[float, float] = (0.0, 0.15)
    """Standard deviation of a component, as a share of the scan's mean in the brain (ours)."""

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
