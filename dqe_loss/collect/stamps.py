"""What tells a case's files from others: masks to the byte, images by samples that no new file passes."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

BY_CONTENT = "c-"
"""What stamps begin with; those of earlier studies do not, and know only the sizes of images."""
_BLOCKS, _BLOCK = 16, 1 << 16


def content_of(path: Path) -> str:
    """A checksum of a file's size and of blocks all over it (1 MiB; smaller files as a whole), in milliseconds.

    Of ``.nii.gz`` that is all: the last bytes are a checksum of the whole. Of ``.nii`` the header is among it, and more
    of the values than any other scan shares.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        digest = hashlib.sha256(str(size).encode())
        last = max(size - _BLOCK, 0)
        for place in sorted({last * i // (_BLOCKS - 1) for i in range(_BLOCKS)}):
            file.seek(place)
            digest.update(file.read(_BLOCK))
    return digest.hexdigest()


def stamp_of(
    images: Sequence[Path], mask: Path, like: str = BY_CONTENT, content: Callable[[Path], str] = content_of
) -> str:
    """The stamp of a case's files as they are now.

    Args:
        images: of the exam, in the task's order.
        mask: the segmentation.
        like: a stamp that this one will be compared with: one of an earlier study asks only for the images' sizes.
        content: `content_of`, or what remembers it: masks of one exam share their images.

    Returns:
        `BY_CONTENT` and 16 hexadecimal digits (without it ``like`` an earlier one); ``"missing: REASON"`` where a file
        cannot be read.
    """
    by_content = like.startswith(BY_CONTENT)
    digest = hashlib.sha256()
    try:
        digest.update(mask.read_bytes())
        told = [content(path) if by_content else path.stat().st_size for path in images]
    except OSError as error:
        return f"missing: {error.strerror}"
    digest.update(str(told).encode())
    return BY_CONTENT * by_content + digest.hexdigest()[:16]
