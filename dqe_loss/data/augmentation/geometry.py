"""Augmentation that moves voxels, image and mask alike, by MONAI: flips, affine and elastic deformation."""

from collections.abc import Mapping

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import AffineGrid, CenterSpatialCrop, Flip, RandDeformGrid, Resample
from monai.transforms.utils import create_control_grid, create_grid
from torch import Tensor

from dqe_loss.data.augmentation.config import AugmentationConfig

Generators = Mapping[str, np.random.Generator]
"""Each transform that happens, with its source of randomness."""


def move_planes(scans: Tensor, regions: Tensor, config: AugmentationConfig, drawn: Generators) -> tuple[Tensor, Tensor]:
    """Flip and deform a plane, image and mask through one and the same grid.

    Affine and elastic deformation are one resampling: linear for the image, nearest for the mask, all of whose
    channels take the same voxel, so that regions stay binary and nested. What comes from outside the plane is 0.

    Args:
        scans: ``(4, H, W)`` float32.
        regions: ``(3, H, W)`` bool.
        config: magnitudes.
        drawn: which of ``flip``, ``affine``, ``elastic`` happen.

    Returns:
        Both, of the same shape and type; new tensors unless nothing happens.
    """
    if "flip" in drawn:
        axes = config.flip_axes
        chosen = int(drawn["flip"].integers(1, 2 ** len(axes)))  # each bit an axis: every set but the empty one
        flip = Flip([axis for bit, axis in enumerate(axes) if chosen >> bit & 1])
        scans, regions = plain(flip(scans)), plain(flip(regions))
    if "affine" in drawn or "elastic" in drawn:
        size = (scans.shape[1], scans.shape[2])
        grid = create_grid(size, backend="torch", dtype=torch.float32)
        if "elastic" in drawn:
            grid[:2] += elastic_offsets(size, config, drawn["elastic"])
        if "affine" in drawn:
            grid = affine(config, drawn["affine"])(grid=grid)[0]
        resample = Resample(padding_mode="zeros", dtype=torch.float32)
        scans = plain(resample(scans, grid, mode="bilinear"))
        regions = plain(resample(regions.float(), grid, mode="nearest")) > 0.5
    return scans, regions


def affine(config: AugmentationConfig, rng: np.random.Generator) -> AffineGrid:
    """Draw rotation, shear, translation and scaling."""
    return AffineGrid(
        rotate_params=float(np.radians(rng.uniform(*config.rotation))),
        shear_params=rng.uniform(*config.shear, 2).tolist(),
        translate_params=rng.uniform(*config.translation, 2).tolist(),
        # A grid says where to look: looking twice as far apart halves the picture.
        scale_params=(1 / rng.uniform(*config.scaling, 2)).tolist(),
    )


def elastic_offsets(size: tuple[int, int], config: AugmentationConfig, rng: np.random.Generator) -> Tensor:
    """Smooth random moves ``(2, H, W)`` in voxels.

    MONAI's ``Rand2DElastic`` prolongs moved *coordinates* by cubic interpolation, which does not keep a straight
    line straight: even with magnitude 0 its voxels are 0.75 to 1.48 apart. Here only the moves are prolonged.
    """
    spacing = (config.elastic_spacing,) * 2
    deform = RandDeformGrid(spacing, config.elastic_magnitude).set_random_state(seed=int(rng.integers(2**32)))
    moves = (deform(size) - create_control_grid(size, spacing, backend="torch"))[None, :2].float()
    fine = torch.nn.functional.interpolate(plain(moves), scale_factor=spacing, mode="bicubic", align_corners=False)
    return plain(CenterSpatialCrop(size)(fine[0]))


def plain(tensor: Tensor) -> Tensor:
    """MONAI's tensors with metadata as torch's own."""
    return tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor
