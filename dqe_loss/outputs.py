"""Files that are there whole or not at all."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def check_outputs(outputs: Sequence[Path]) -> None:
    """Refuse paths that could not be written, before any work is done.

    Raises:
        ValueError: naming the path, and what stands in the way.
    """
    for path in outputs:
        if not path.parent.is_dir():
            raise ValueError(f"{path}: cannot be written, there is no folder {path.parent}; make it first")
        if path.is_dir():
            raise ValueError(f"{path}: cannot be written, it is a folder; give a file name in it")
        if not os.access(path.parent, os.W_OK):
            raise ValueError(f"{path}: cannot be written, no permission in {path.parent}")
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise ValueError("expected a file of its own for each output, found one named twice")


def check_output_folder(folder: Path, option: str = "--out") -> None:
    """Refuse a folder that could not be made or written to, before any work is done.

    Args:
        folder: the folder, which need not be there.
        option: what the user named it with.

    Raises:
        ValueError: naming the folder, and what stands in the way.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise ValueError(f"{folder}: cannot be a folder, {existing} is a file; give {option} another name")
    if not os.access(existing, os.W_OK):
        raise ValueError(f"{folder}: cannot be written, no permission in {existing}")


def encode(text: str) -> bytes:
    """Text as UTF-8; a file name's byte that is not UTF-8 becomes an escape, which JSON reads back."""
    return text.encode(errors="backslashreplace")


def write_together(contents: Mapping[Path, bytes], lasting: bool = False) -> None:
    """Write files atomically: each is there whole or not at all, and none before all could be written.

    Args:
        contents: path to content; the folders must exist.
        lasting: be on disk when this returns, whatever happens to the power: for what cannot be made again.

    Raises:
        OSError: a file cannot be written, naming it; no temporary file is left.
    """
    temporaries = {path: path.with_name(f".{path.name}.{os.getpid()}.part") for path in contents}
    try:
        for path, content in contents.items():
            try:
                with temporaries[path].open("wb") as file:
                    file.write(content)
                    if lasting:
                        file.flush()
                        os.fsync(file.fileno())
            except OSError as error:
                if error.errno is None or error.filename is not None:
                    raise
                # A full disk is told without saying of which file.
                raise OSError(error.errno, error.strerror, str(path)) from error
        for path, temporary in temporaries.items():
            os.replace(temporary, path)
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)
    if lasting:
        for folder in {path.parent for path in contents}:
            sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Let the names of a folder's files reach the disk, too."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def json_ready(numbers: Any) -> Any:
    """The same numbers with None for NaN, which JSON does not know, and arrays as lists."""
    if isinstance(numbers, Mapping):
        return {str(key): json_ready(value) for key, value in numbers.items()}
    if isinstance(numbers, (list, tuple)):
        return [json_ready(value) for value in numbers]
    if hasattr(numbers, "tolist"):
        return json_ready(numbers.tolist())
    return None if isinstance(numbers, float) and not math.isfinite(numbers) else numbers
