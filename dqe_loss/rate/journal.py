"""What is kept of a rating in progress: a line for each exam, on disk before the next one, so that a kill costs one.

The journal is a folder beside the table, ``stars.csv.journal``: ``settings.json``, and for each process a file of JSON
lines that it alone appends to. It stays when the table is written: a later run rates only what is new or has changed.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from dqe_loss.data.tables.rated import FORMER
from dqe_loss.rate.table_rows import Row
from dqe_loss.resume import claim_folder, cut_torn_line, lock_journal

SETTINGS = "settings.json"


@dataclass(frozen=True)
class Entry:
    """What the journal holds of one exam.

    Attributes:
        exam: its name.
        stamp: of its files, as they were when it was rated.
        rows: a row for each segmentation.
    """

    exam: str
    stamp: str
    rows: tuple[Row, ...]

    @property
    def failed(self) -> bool:
        """Whether a segmentation has no stars."""
        return any(row["error"] for row in self.rows)


@dataclass(frozen=True)
class Journal:
    """A folder of what is done."""

    folder: Path

    @classmethod
    def open(cls, folder: Path, settings: Mapping[str, Any]) -> "Journal":
        """Begin, or go on with what the folder holds.

        Args:
            folder: made if need be.
            settings: what every row depends on, JSON-ready.

        Raises:
            ValueError: if the folder holds a rating with other settings, or they cannot be read.
        """
        cure = "give another --out, or delete that folder to begin anew"
        claim_folder(folder / SETTINGS, settings, "a rating", cure, FORMER)
        return cls(folder)

    def read(self) -> dict[str, Entry]:
        """The last entry of each exam, whichever process wrote it.

        Raises:
            ValueError: a line that is whole cannot be read, naming it.
        """
        entries = [entry for path in sorted(self.folder.glob("rank-*.jsonl")) for entry in _read(path)]
        # An exam is in several files only if the number of processes changed, and its files changed since, too.
        entries.sort(key=lambda timed: timed[0])
        return {entry.exam: entry for _, entry in entries}

    @contextmanager
    def writing(self, rank: int) -> Iterator["Writer"]:
        """Append to a process's own file.

        Raises:
            ValueError: if another process has it open.
            OSError: if it cannot be written.
        """
        path = self.folder / f"rank-{rank}.jsonl"
        with path.open("ab+") as file:
            # Two processes that take themselves for one would rate everything twice.
            lock_journal(
                file, f"{path}: another process is writing there; wait for it, or give each process a RANK of its own"
            )
            cut_torn_line(file)
            yield Writer(file)


@dataclass(frozen=True)
class Writer:
    """Appends entries to a file."""

    file: BinaryIO

    def add(self, entry: Entry, time: float) -> None:
        """Keep an entry, on disk when this returns.

        Args:
            entry: what to keep.
            time: when it was made, in seconds since 1970: the later of two entries of an exam counts.
        """
        content = {"exam": entry.exam, "stamp": entry.stamp, "time": time, "rows": entry.rows}
        self.file.write(json.dumps(content, allow_nan=False).encode() + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())


def _read(path: Path) -> Iterator[tuple[float, Entry]]:
    """Entries with their time; a last line that was torn by a kill is not there yet."""
    *lines, _ = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        try:
            content = json.loads(line)
            yield content["time"], Entry(content["exam"], content["stamp"], tuple(content["rows"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}, line {number}: cannot be read ({error!r}); delete the line, and its exam is rated again"
            ) from error
