"""Where a rater stands: what is asked next, what an answer does, and what happens to one that comes twice."""

import hashlib
import hmac
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import median
from typing import Any

from dqe_loss.collect.journal import RaterJournal, answers_of
from dqe_loss.collect.order import Trial

BETTER = ("left", "right", "same")
COMMENT_LIMIT = 2000
_LONGEST = 600.0
"""Seconds for a case beyond which a rater has left the room: they do not count in the time left."""


class ConflictError(ValueError):
    """An answer to something that is not asked now: from another tab, or of a page that is out of date."""


@dataclass(frozen=True)
class Answer:
    """What a rater said.

    Attributes:
        verdict: a value of the task's scale, or one of `BETTER`.
        comment: free text.
        tags: some of the study's.
        seconds: that the case was looked at, pauses left out, as the browser counts.
    """

    verdict: float | str
    comment: str = ""
    tags: tuple[str, ...] = ()
    seconds: float = 0.0


class RaterSession:
    """A rater's questions and answers.

    Args:
        rater: name.
        secret: of the rater's link; what the browser calls a trial is made from it.
        trials: all questions, in order.
        journal: where answers are kept.
    """

    def __init__(self, rater: str, secret: str, trials: Sequence[Trial], journal: RaterJournal) -> None:
        self.rater, self.trials, self.journal = rater, list(trials), journal
        self._lock = threading.Lock()
        self._public = {trial.key: _public_name(secret, trial.key) for trial in trials}
        self.by_name = {self._public[trial.key]: trial for trial in trials}
        self._answers = answers_of(journal.entries)

    @property
    def turn(self) -> int:
        """Lines of the journal: what a page must have seen for its answer to be taken."""
        return len(self.journal.entries)

    def name_of(self, trial: Trial) -> str:
        """What the browser calls a trial: it does not tell which case it is, nor that it is a repeat."""
        return self._public[trial.key]

    def open_trials(self, count: int = 2) -> list[Trial]:
        """The next questions that are not answered."""
        return list(islice((trial for trial in self.trials if trial.key not in self._answers), count))

    def remarks_on(self, trial: Trial) -> dict[str, Any]:
        """Comment and tags of an answer that was taken back, so that they need not be given again."""
        given = (entry for entry in reversed(self.journal.entries) if entry.get("trial") == trial.key)
        former = next(given, {"comment": "", "tags": []})
        return {"comment": former["comment"], "tags": former["tags"]}

    def progress(self) -> dict[str, Any]:
        """How many are done, of how many, and about how many seconds are left (None before the third answer)."""
        done = sum(trial.key in self._answers for trial in self.trials)
        times = [
            seconds
            for answer in list(self._answers.values())[-30:]
            if 0 < (seconds := float(answer.get("seconds", 0))) < _LONGEST
        ]
        left = median(times) * (len(self.trials) - done) if len(times) > 2 else None
        return {"done": done, "total": len(self.trials), "seconds_left": left}

    def answer(self, name: str, turn: int, answer: Answer) -> None:
        """Take an answer; it is on disk when this returns.

        The same answer sent twice, as a browser does when a connection breaks, is taken once; with another remark, the
        later one counts.

        Args:
            name: the trial, as `name_of` calls it.
            turn: what `turn` was when the case was shown.
            answer: what was said.

        Raises:
            KeyError: there is no such trial.
            ConflictError: it is not this trial's turn.
            OSError: the disk cannot take it; nothing has changed.
        """
        trial = self.by_name[name]
        with self._lock:
            former = self._answers.get(trial.key)
            remarks = {"comment": answer.comment, "tags": list(answer.tags)}
            asked = self.open_trials(1)
            if former is not None and turn == self.turn - 1 and former["verdict"] == answer.verdict:
                if not any(remarks.values()) or all(former[key] == value for key, value in remarks.items()):
                    return
            elif former is not None or turn != self.turn or not asked or asked[0].key != trial.key:
                raise ConflictError("this case was answered in another tab, or the page is out of date")
            entry = {
                "trial": trial.key,
                "cases": list(trial.cases),
                "shown": list(trial.shown),
                "verdict": answer.verdict,
                **remarks,
                "seconds": round(answer.seconds, 1),
                "time": round(time.time(), 3),
                **({"chosen": trial.chosen} if trial.chosen else {}),
            }
            self.journal.append(entry)
            self._answers[trial.key] = entry

    def undo(self, turn: int) -> None:
        """Take back the last answer; it stays in the journal, and no longer counts.

        Raises:
            ConflictError: there is none, or the page is out of date.
            OSError: the disk cannot take it; nothing has changed.
        """
        with self._lock:
            if turn != self.turn or not self._answers:
                raise ConflictError("there is nothing to take back, or the page is out of date")
            last = next(reversed(self._answers))
            self.journal.append({"undo": last, "time": round(time.time(), 3)})
            del self._answers[last]


def _public_name(secret: str, key: str) -> str:
    return hmac.new(secret.encode(), key.encode(), hashlib.sha256).hexdigest()[:20]
