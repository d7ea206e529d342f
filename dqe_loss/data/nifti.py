"""Read one NIfTI volume in the type it is stored in, with one clear error for each thing that can be wrong.

A compressed file is inflated at one go, by python-isal where it is installed (the extra ``fast``), which is more
than twice as fast as zlib. One that is not compressed is mapped into memory, and nothing of it is copied but what is
taken. A mapped file must not be cut short while it is in use: the operating system would end the process.
"""

import gzip
import io
import mmap
import zlib
from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

try:
    from isal import igzip
    from isal.igzip_lib import IsalError
except ImportError:  # zlib does as well, in its own time
    igzip = None

Volume = NDArray[Any]
"""An (X, Y, Z) array of any real type."""

Content = bytes | mmap.mmap | NDArray[np.uint8]
"""All bytes of a file."""

_SLICE = 1 << 18  # stays in a core's cache on its way from the decoder to its place
_DEFLATE_RATIO = 1032  # no deflate stream shrinks by more


class ExamError(ValueError):
    """An exam cannot be read; the message says which file, what was expected, what came, how to mend it."""


@dataclass(frozen=True)
class StoredVolume:
    """A volume as it lies in its file.

    Attributes:
        stored: (X, Y, Z) values in Fortran order, in the file's byte order, not scaled; perhaps mapped and read-only.
        slope: what the header multiplies them by.
        inter: what it adds then.
        affine: (4, 4) in mm; without its directions, from the voxel sizes alone, where ``oriented`` is false.
        oriented: whether the header gives a usable affine.
        odd: what is wrong with the header, though the voxels can be read; a short phrase, empty if nothing is.
        flat: whether it is stored as a 2D image; it has a single plane then.
    """

    stored: Volume
    slope: float
    inter: float
    affine: NDArray[np.float64]
    oriented: bool = True
    odd: str = ""
    flat: bool = False

    @property
    def scaled(self) -> bool:
        """Whether the header scales the stored values."""
        return (self.slope, self.inter) != (1.0, 0.0)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values: float32 where they are scaled, else the stored one in native byte order."""
        return np.dtype(np.float32) if self.scaled else self.stored.dtype.newbyteorder("=")

    def values(self, part: Volume | None = None) -> Volume:
        """What the stored values stand for; a new array only if it must be.

        Args:
            part: any part of ``stored``; all of it if None.
        """
        part = self.stored if part is None else part
        array = part.astype(self.dtype, copy=False)
        if self.scaled:
            array = array * np.float32(self.slope)
            array += np.float32(self.inter)
        return array

    def bounds(self) -> tuple[Any, Any]:
        """Least and greatest value; both carry NaN and Inf through, without a mask in memory."""
        extremes = self.values(np.array([self.stored.min(), self.stored.max()], self.stored.dtype))
        return extremes.min(), extremes.max()


def read_volume(path: str | Path) -> tuple[Volume, NDArray[np.float64]]:
    """Read one 3D NIfTI file in the type it is stored in, native byte order.

    Args:
        path: a .nii or .nii.gz file (told apart by content, not by name).

    Returns:
        The (X, Y, Z) array in Fortran order (float32 where the header scales the stored values), and its
        (4, 4) affine in mm.

    Raises:
        ExamError: missing, empty, truncated, not a NIfTI, not 3D, or not real numbers. A header whose affine or
            intercept cannot be used is none: `StoredVolume.odd` says what is wrong with it.
    """
    volume = open_volume(path)
    if volume.flat:
        raise ExamError(f"{path}: expected a 3D volume, found shape {volume.stored.shape[:2]}; save it as a volume")
    array = volume.values()
    return array if array.flags.writeable else array.copy(order="F"), volume.affine


def open_volume(path: str | Path) -> StoredVolume:
    """Open one 3D NIfTI file, or a 2D one as a volume of one plane.

    Args:
        path: a .nii or .nii.gz file (told apart by content, not by name).

    Returns:
        The volume ``(X, Y, Z)`` as it is stored.

    Raises:
        ExamError: for the reasons of `read_volume`, but for a file of one plane.
    """
    path = Path(path)
    content = _read(path)
    head = bytes(content[: nib.Nifti2Header.sizeof_hdr])
    # The magic of a single file; that of a .hdr without its .img is another.
    if head[344:348] == b"n+1\0":
        kind = nib.Nifti1Header
    elif head[4:8] == b"n+2\0":
        kind = nib.Nifti2Header
    else:
        raise ExamError(f"{path}: expected a NIfTI file, found something else; convert it to .nii or .nii.gz")
    try:
        header = kind(head[: kind.sizeof_hdr])
        shape, dtype, offset = header.get_data_shape(), header.get_data_dtype(), header.get_data_offset()
        found, expected = len(content) - offset, dtype.itemsize * prod(shape)
        if found < expected:
            raise ValueError(f"expected {expected} bytes of voxels, found {max(found, 0)}")
        stored: Volume = np.ndarray(shape, dtype, buffer=content, offset=offset, order="F")
    except (HeaderDataError, WrapStructError, ValueError, TypeError) as error:
        raise ExamError(
            f"{path}: expected a whole NIfTI file, found one that is damaged or cut short "
            f"({' '.join(str(error).split())}); copy or download it again"
        ) from error
    if dtype.kind not in "iuf":
        raise ExamError(f"{path}: expected real numbers, found type {dtype}; save it as integers")
    while stored.ndim > 3 and stored.shape[-1] == 1:
        stored = stored[..., 0]
    flat = stored.ndim == 2
    stored = stored[..., None] if flat else stored
    if stored.ndim != 3 or 0 in stored.shape:
        raise ExamError(
            f"{path}: expected a 3D volume, found shape {stored.shape}; save each modality as its own file, as "
            "nibabel.four_to_three does"
        )
    slope, inter, odd_scale = _scale(header)
    affine, odd_affine = _affine(header)
    odd = ", ".join(filter(None, (odd_scale, odd_affine)))
    return StoredVolume(stored, slope, inter, affine, not odd_affine, odd, flat)


def _scale(header: nib.Nifti1Header) -> tuple[float, float, str]:
    """What the header scales by, and what is wrong with that. A slope of 0, NaN or Inf is none, as NIfTI has it."""
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not isfinite(slope):
        return 1.0, 0.0, ""
    if not isfinite(inter):
        return slope, 0.0, f"scl_inter is {inter:g} in its header and taken as 0"
    return slope, inter, ""


def _affine(header: nib.Nifti1Header) -> tuple[NDArray[np.float64], str]:
    """The affine, or what the voxel sizes give where there is none, and why."""
    try:
        affine = np.asarray(header.get_best_affine(), dtype=np.float64)
        if np.isfinite(affine).all() and np.linalg.matrix_rank(affine[:3, :3]) == 3:
            return affine, ""
        reason = "NaN or Inf" if not np.isfinite(affine).all() else "an axis of length 0"
    except (HeaderDataError, ValueError):  # of a quaternion that is too long
        reason = "a quaternion that is no rotation"
    return np.asarray(header.get_base_affine(), dtype=np.float64), f"its header's affine has {reason} and is not used"


def _read(path: Path) -> Content:
    """The whole file: inflated at one go, or mapped."""
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing there"
        raise ExamError(f"{path}: expected a NIfTI file, found {found}; check the path")
    try:
        with path.open("rb") as file:
            magic = file.read(2)
            file.seek(0)
            if magic and magic != b"\x1f\x8b":
                return _map(file)
            content = file.read()
    except OSError as error:
        raise ExamError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    if not content:
        raise ExamError(f"{path}: expected a NIfTI file, found an empty one (0 bytes); copy it again")
    try:
        inflated = None if igzip is None else _inflate(content)
        return gzip.decompress(content) if inflated is None else inflated
    except (EOFError, OSError, zlib.error) as error:
        raise ExamError(
            f"{path}: expected a whole gzip file, found one that is damaged or cut short ({error}); "
            "copy or download it again"
        ) from error


def _map(file: BinaryIO) -> Content:
    try:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError:  # some network file systems map nothing
        return file.read()


def _inflate(content: bytes) -> NDArray[np.uint8] | None:
    """Inflate a sound gzip file of one member; None for any other, of which zlib knows what to say."""
    size = int.from_bytes(content[-4:], "little")  # what the member says of itself, modulo 4 GiB
    if size > _DEFLATE_RATIO * len(content):
        return None
    inflated = np.empty(size, np.uint8)
    try:
        with igzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            read = sum(file.readinto(inflated[start : start + _SLICE].data) for start in range(0, size, _SLICE))
            return inflated if read == size and not file.read(1) else None
    except (EOFError, OSError, IsalError):  # type: ignore[misc]  # its stubs call the class an instance
        return None
