"""What is kept of an audit in progress, so that an interrupted one goes on where it was."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from dqe_loss.audit.stars_and_dice import Numbers
from dqe_loss.outputs import write_together
from dqe_loss.resume import check_same, read_record

FILE = "state.json"
PICTURES = "pictures"


@dataclass
class FinishedParts:
    """Finished pairs of part and exam, in a folder.

    Attributes:
        folder: where it is kept.
        settings: what every result depends on, JSON-ready.
        results: part to exam to ``inputs`` (what else this result depends on) and ``numbers``.
    """

    folder: Path
    settings: Numbers
    results: dict[str, dict[str, Numbers]] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, settings: Numbers) -> "FinishedParts":
        """Begin, or go on with what the folder holds.

        Raises:
            ValueError: if the folder holds an audit with other settings, or its state cannot be read.
        """
        path = folder / FILE
        if not path.exists():
            return cls(folder, settings)
        cure = "give another --out, or delete it"
        stored = read_record(path, cure, ("settings", "results"))
        check_same(folder, stored["settings"], settings, "an audit", cure)
        return cls(folder, settings, stored["results"])

    def find(self, part: str, exam: str, inputs: Numbers) -> Numbers | None:
        """What was measured with the same inputs, if it was, and its picture is there."""
        found = self.results.get(part, {}).get(exam)
        if found is None or found["inputs"] != inputs:
            return None
        if found["pictured"] and not self.picture(part, exam).is_file():
            return None
        numbers: Numbers = found["numbers"]
        return numbers

    def add(self, part: str, exam: str, inputs: Numbers, numbers: Numbers, picture: bytes | None) -> None:
        """Keep a result, on disk at once.

        Raises:
            OSError: a file cannot be written.
        """
        entry = {"inputs": inputs, "numbers": numbers, "pictured": picture is not None}
        self.results.setdefault(part, {})[exam] = entry
        content = {"settings": self.settings, "results": self.results}
        files: dict[Path, bytes] = {}
        if picture is not None:
            (self.folder / PICTURES).mkdir(parents=True, exist_ok=True)
            files[self.picture(part, exam)] = picture
        self.folder.mkdir(parents=True, exist_ok=True)
        # The state last: what it names is there.
        write_together(files | {self.folder / FILE: json.dumps(content, allow_nan=False).encode()})

    def picture(self, part: str, exam: str) -> Path:
        """Where the picture of a part and an exam is."""
        return self.folder / PICTURES / f"{part}_{exam}.png"
