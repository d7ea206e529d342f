"""The journal: nothing is lost, nothing is there twice, whatever happens to process and disk."""

import json
import os
import subprocess
import sys
import time

import pytest

from dqe_loss.collect.journal import RaterJournal, answers_of, read_entries


def entry(trial, verdict=3):
    return {"trial": trial, "cases": [0], "verdict": verdict}


def test_what_was_appended_is_there(tmp_path):
    path = tmp_path / "ann.jsonl"
    journal = RaterJournal(path)
    journal.append(entry("0"))
    journal.append(entry("1") | {"comment": "Rand fehlt – ça va 🙂"})
    journal.append({"undo": "1"})
    journal.append(entry("1", 5))
    assert read_entries(path) == journal.entries
    journal.close()
    again = RaterJournal(path)
    assert len(again.entries) == 4
    assert {trial: answer["verdict"] for trial, answer in answers_of(again.entries).items()} == {"0": 3, "1": 5}


@pytest.mark.parametrize("torn", [b"{", b'{"trial": "2", "verdict": 4}', b"\xff\xfe"])
def test_a_torn_line_is_not_there(tmp_path, torn):
    path = tmp_path / "ann.jsonl"
    RaterJournal(path).append(entry("0"))
    with path.open("ab") as file:
        file.write(torn)
    assert [e["trial"] for e in read_entries(path)] == ["0"]
    journal = RaterJournal(path)
    journal.append(entry("1"))
    assert [e["trial"] for e in read_entries(path)] == ["0", "1"]


@pytest.mark.parametrize("line", [b"nonsense", b"[1]", b'{"verdict": 3}', b'{"trial": 3}'])
def test_a_damaged_line_is_told(tmp_path, line):
    path = tmp_path / "ann.jsonl"
    path.write_bytes(json.dumps(entry("0")).encode() + b"\n" + line + b"\n")
    with pytest.raises(ValueError, match=r"ann\.jsonl, line 2: cannot be read"):
        RaterJournal(path)


def test_two_servers_cannot_hold_it(tmp_path):
    journal = RaterJournal(tmp_path / "ann.jsonl")
    with pytest.raises(ValueError, match="another dqe collect serves this study"):
        RaterJournal(tmp_path / "ann.jsonl")
    journal.close()
    RaterJournal(tmp_path / "ann.jsonl").close()


def test_a_full_disk_leaves_it_as_it_was(tmp_path, monkeypatch):
    """The disk takes half a line and then no more; later it is emptied."""
    path = tmp_path / "ann.jsonl"
    journal = RaterJournal(path)
    journal.append(entry("0"))
    before, write = path.read_bytes(), os.write
    full = {"left": 10}

    def limited(descriptor, content):
        if not full["left"]:
            raise OSError(28, "No space left on device")
        done = write(descriptor, content[: full["left"]])
        full["left"] -= done
        return done

    monkeypatch.setattr(os, "write", limited)
    with pytest.raises(OSError, match="No space"):
        journal.append(entry("1"))
    assert path.read_bytes() == before
    assert len(journal.entries) == 1
    monkeypatch.setattr(os, "write", write)
    journal.append(entry("1"))
    assert [e["trial"] for e in read_entries(path)] == ["0", "1"]


WRITER = """
import sys
from pathlib import Path
from dqe_loss.collect.journal import RaterJournal
journal = RaterJournal(Path(sys.argv[1]))
for number in range(len(journal.entries), 100_000):
    journal.append({"trial": str(number), "cases": [number], "verdict": 1 + number % 6, "comment": "x" * 500})
    print(number, flush=True)
"""


@pytest.mark.slow
def test_kill_loses_nothing_that_was_acknowledged(tmp_path):
    path = tmp_path / "ann.jsonl"
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        lines = [writer.stdout.readline() for _ in range(50)]
        time.sleep(0.02)
        writer.kill()
        lines += writer.stdout.readlines()
        writer.wait()
        whole = [int(line) for line in lines if line.endswith("\n")]
        kept = [int(e["trial"]) for e in read_entries(path)]
        assert kept == list(range(len(kept)))
        assert whole[-1] in (kept[-1], kept[-1] - 1)
