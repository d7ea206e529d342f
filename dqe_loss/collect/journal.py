"""A rater's journal: a line for each answer, on disk before the next case is shown, never changed afterwards.

A line is JSON: an answer (``trial`` and what was said of it) or an undo (``undo``, the trial whose answer no longer
counts). A line torn by a power cut is cut off when the journal is opened; a write that the disk refuses leaves the file
as it was.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from dqe_loss.outputs import sync_folder
from dqe_loss.resume import cut_torn_line, lock_journal

Entry = Mapping[str, Any]


class RaterJournal:
    """The journal of one rater, held by one process.

    Args:
        path: its file, made if need be; the folder must be there.

    Raises:
        ValueError: another process holds it, or a whole line cannot be read.
        OSError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO = path.open("ab+", buffering=0)
        try:
            # Two servers of one study would not know of each other's answers.
            lock_journal(self._file, f"{path}: another dqe collect serves this study; stop it first")
            self.entries: list[Entry] = read_entries(path)
            self._size = cut_torn_line(self._file)
        except BaseException:
            self._file.close()
            raise
        sync_folder(path.parent)

    def append(self, entry: Entry) -> None:
        """Keep an entry: on disk when this returns, not there at all when it raises.

        Raises:
            OSError: the disk is full, or gone.
        """
        line = json.dumps(entry, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        descriptor = self._file.fileno()
        # A write that failed may have left a part behind, and cutting that off may have failed, too.
        self._file.truncate(self._size)
        try:
            written = 0
            while written < len(line):
                written += os.write(descriptor, line[written:])
            os.fsync(descriptor)
        except OSError:
            self._file.truncate(self._size)
            raise
        self._size += len(line)
        self.entries.append(entry)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def read_entries(path: Path) -> list[Entry]:
    """All whole lines of a journal, whoever holds it; none if it is not there.

    Raises:
        ValueError: a whole line cannot be read, naming it.
    """
    if not path.is_file():
        return []
    *lines, _ = path.read_bytes().split(b"\n")
    entries: list[Entry] = []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            if not isinstance(entry, dict) or not isinstance(entry.get("trial", entry.get("undo")), str):
                raise ValueError("expected an answer or an undo")
        except ValueError as error:
            raise ValueError(
                f"{path}, line {number}: cannot be read ({error}); restore the file, or delete the line: its case is "
                "then asked again"
            ) from error
        entries.append(entry)
    return entries


def answers_of(entries: list[Entry]) -> dict[str, Entry]:
    """The answers that count, by trial, in the order in which they were given."""
    answers: dict[str, Entry] = {}
    for entry in entries:
        if "undo" in entry:
            answers.pop(entry["undo"], None)
        else:
            answers.pop(entry["trial"], None)  # a second one would count from its own place
            answers[entry["trial"]] = entry
    return answers
