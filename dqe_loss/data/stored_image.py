"""The modalities of an exam as they lie in their files, of which planes are taken without a copy of the whole."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dqe_loss.core.slicing import VIEW_AXIS
from dqe_loss.data.nifti import StoredVolume


@dataclass(frozen=True)
class StoredImage:
    """An image that `dqe_loss.core.planes` takes its planes of, as of a tensor (1, C, X, Y, Z); a `PlaneSource`.

    Attributes:
        volumes: its modalities, all of one shape.
    """

    volumes: tuple[StoredVolume, ...]

    @property
    def shape(self) -> torch.Size:
        """Shape of the image, ``(1, C, X, Y, Z)``."""
        return torch.Size((1, len(self.volumes), *self.volumes[0].stored.shape))

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type that holds all modalities: the stored one, never float64."""
        dtype = np.result_type(*(volume.dtype for volume in self.volumes))
        if dtype == np.uint16:
            return np.dtype(np.int32)  # torch has hardly any operation for the larger unsigned types
        if dtype.kind == "f" or dtype in (np.uint32, np.uint64):
            return np.dtype(np.float32)
        return dtype

    def take(self, index: Tensor, view: str) -> Tensor:
        """Planes ``(1, P, C, H, W)`` at integer positions ``(1, P)``: those, and nothing else, are converted."""
        axis = VIEW_AXIS[view]
        x, y, z = self.volumes[0].stored.shape
        size = {0: (y, z), 1: (x, z), 2: (x, y)}[axis]
        planes = np.empty((1, index.shape[1], len(self.volumes), *size), self.dtype)
        for i, position in enumerate(index[0].tolist()):
            for plane, volume in zip(planes[0, i], self.volumes, strict=True):
                np.copyto(plane, volume.values(volume.stored[(slice(None),) * axis + (position,)]), casting="unsafe")
        return torch.from_numpy(planes)

    def thin(self, step: int) -> Tensor:
        """Every ``step``-th voxel along each axis, ``(1, C, X', Y', Z')``."""
        return torch.from_numpy(self.read(step))[None]

    def read(self, step: int = 1) -> NDArray[Any]:
        """All voxels as one array (C, X, Y, Z), each modality contiguous in the order of the file.

        Args:
            step: read each voxel, or every ``step``-th along each axis.
        """
        parts = [volume.stored[::step, ::step, ::step] for volume in self.volumes]
        x, y, z = parts[0].shape
        image: NDArray[Any] = np.empty((len(parts), z, y, x), self.dtype).transpose(0, 3, 2, 1)
        for channel, volume, part in zip(image, self.volumes, parts, strict=True):
            np.copyto(channel, volume.values(part), casting="unsafe")
        return image
