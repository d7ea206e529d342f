"""Read one NIfTI volume in the type it is stored in, with one clear error for each thing that can be wrong."""

import gzip
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError, ImageDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

Volume = NDArray[Any]
"""An (X, Y, Z) array of any real type."""


class ExamError(ValueError):
    """An exam cannot be read; the message says which file, what was expected, what came, how to mend it."""


def read_volume(path: str | Path) -> tuple[Volume, NDArray[np.float64]]:
    """Read one 3D NIfTI file in the type it is stored in, native byte order.

    Args:
        path: a .nii or .nii.gz file (told apart by content, not by name).

    Returns:
        The (X, Y, Z) array in Fortran order (float32 where the header scales the stored values), and its
        (4, 4) affine in mm.

    Raises:
        ExamError: missing, empty, truncated, not a NIfTI, not 3D, or not real numbers.
    """
    path = Path(path)
    content = _read_bytes(path)
    # The magic of a single file; that of a .hdr without its .img is another.
    if content[344:348] == b"n+1\0":
        kind = nib.Nifti1Image
    elif content[4:8] == b"n+2\0":
        kind = nib.Nifti2Image
    else:
        raise ExamError(f"{path}: expected a NIfTI file, found something else; convert it to .nii or .nii.gz")
    try:
        nifti = kind.from_bytes(content)
        stored = nifti.dataobj.get_unscaled()
        slope, inter = nifti.dataobj.slope, nifti.dataobj.inter
    except (HeaderDataError, ImageDataError, WrapStructError, ValueError, OSError) as error:
        raise ExamError(
            f"{path}: expected a whole NIfTI file, found one that is damaged or cut short "
            f"({' '.join(str(error).split())}); copy or download it again"
        ) from error
    if stored.dtype.kind not in "iuf":
        raise ExamError(f"{path}: expected real numbers, found type {stored.dtype}; save it as integers")
    while stored.ndim > 3 and stored.shape[-1] == 1:
        stored = stored[..., 0]
    if stored.ndim != 3 or 0 in stored.shape:
        raise ExamError(f"{path}: expected a 3D volume, found shape {stored.shape}; save each modality as its own file")
    if (slope, inter) != (1.0, 0.0):
        array = stored.astype(np.float32)
        array *= np.float32(slope)
        array += np.float32(inter)
    else:
        array = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    return array, np.asarray(nifti.affine, dtype=np.float64)


def _read_bytes(path: Path) -> bytes:
    """Return the whole file, decompressed at one go, which is faster than through a gzip file object."""
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing there"
        raise ExamError(f"{path}: expected a NIfTI file, found {found}; check the path")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ExamError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    if not content:
        raise ExamError(f"{path}: expected a NIfTI file, found an empty one (0 bytes); copy it again")
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise ExamError(
            f"{path}: expected a whole gzip file, found one that is damaged or cut short ({error}); "
            "copy or download it again"
        ) from error
