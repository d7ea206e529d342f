"""Go on with a job that was stopped: it is done alike, or refused in one line.

A long job keeps what is done in a folder, beside the settings that all of it depends on. What is done differs (lines
of a journal, files of exams, a network's state); the settings do not, nor what is said where they changed.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from dqe_loss.outputs import write_together

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]


def claim_folder(
    path: Path, settings: Mapping[str, Any], holds: str, cure: str, former: Mapping[str, str] | None = None
) -> None:
    """Note what a folder is for, or see that it was for the same.

    Args:
        path: file of the settings; its folder is made if need be.
        settings: what all in the folder depends on, such as JSON can hold.
        holds: what the folder holds, such as "a simulation".
        cure: what to do where that is another one.
        former: names that settings had before, to those that they have now.

    Raises:
        ValueError: if the folder was for something else, or its settings cannot be read.
        OSError: if it cannot be written.
    """
    now = json.loads(json.dumps(settings))
    if not path.exists():  # processes that begin together write the same, or see it below
        path.parent.mkdir(parents=True, exist_ok=True)
        write_together({path: (json.dumps(now, indent=2) + "\n").encode()})
    before = {(former or {}).get(name, name): value for name, value in read_record(path, cure).items()}
    check_same(path.parent, before, now, holds, cure)


def check_same(where: Path, before: Mapping[str, Any], now: Mapping[str, Any], holds: str, cure: str) -> None:
    """Refuse to go on with what depends on other settings; those that only the former job knew are not asked.

    Raises:
        ValueError: naming what differs, the first with its values, and what to do.
    """
    differing = [key for key in now if before.get(key) != now[key]]
    if differing:
        key = differing[0]
        raise ValueError(
            f"{where}: holds {holds} with another {' and '.join(differing)} ({key} was {before.get(key)!r}, is "
            f"{now[key]!r}); {cure}"
        )


def read_record(path: Path, cure: str, keys: Sequence[str] = ()) -> dict[str, Any]:
    """Read a JSON file that a job wrote.

    Args:
        path: the file.
        cure: what to do where it cannot be read.
        keys: what must be in it.

    Raises:
        ValueError: if it is damaged.
    """
    try:
        record: dict[str, Any] = json.loads(path.read_bytes())
        if not isinstance(record, dict) or not set(keys) <= record.keys():
            raise ValueError(f"expected {', '.join(keys) or 'names and values'}")
    except ValueError as error:
        raise ValueError(f"{path}: cannot be read as JSON ({error}); {cure}") from error
    return record


def lock_journal(file: BinaryIO, taken: str) -> None:
    """Keep other processes from writing to a journal; the lock goes when its owner does.

    Args:
        file: the journal, open.
        taken: what is said where another process has it, and what to do.

    Raises:
        ValueError: if another process has it.
    """
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ValueError(taken) from error
    except OSError:
        pass  # a file system without locks


def cut_torn_line(file: BinaryIO) -> int:
    """Cut off what a kill or a power cut left of a journal's last line; returns the size of the whole lines."""
    file.seek(0)
    size = file.read().rfind(b"\n") + 1
    file.truncate(size)
    return size
