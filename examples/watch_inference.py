"""Watch the stars of a deployed model's segmentations, and write an alert file when they depart from a reference.

    python -m dqe_loss.rate ...                                                 # writes inference.csv
    python examples/watch_inference.py inference.csv --reference accepted.csv   # once, from cron
    python examples/watch_inference.py inference.csv --first 200 --follow 60    # until an alarm, a look a minute

Both tables are those of ``python -m dqe_loss.rate``, a row for each segmentation in the order in which they came. What
is watched for: the mean fell, the mean rose, more segmentations lie below the threshold (or cannot be rated at all).
The test and its false alarms: `dqe_loss.monitor.drift`. Exit code 0 without an alarm, 1 with one, 2 after an error.

The table is all the memory there is: a watch that was killed reads it again, and comes to the same alarm. After an
alarm was dealt with, go on behind it with ``--skip``, or with a new reference.
"""

import io
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import tyro

from dqe_loss.command_line import run_command
from dqe_loss.monitor.drift import DriftWatch
from dqe_loss.options import OptionalFile, OptionalName
from dqe_loss.outputs import check_outputs, write_together


@dataclass(frozen=True)
class WatchInferenceOptions:
    """Watch rated segmentations, and write an alert file when their stars depart from a reference.

    Attributes:
        table: Rated segmentations as they come, CSV.
        reference: Rated segmentations of a time when all was well, CSV. Default: the first ones of the table.
        first: Without --reference: how many of the table's first segmentations are the reference.
        skip: How many segmentations after those to leave out, such as those up to an alarm that was dealt with.
        threshold: Stars below which a segmentation is bad; set it beforehand, not after a look at the stars.
        patience: Number of segmentations until a false alarm, on average, that you put up with.
        segmentation: Watch the rows of this segmentation alone, where exams have several.
        recent: How many of the last segmentations the alert's rolling figures are of.
        alert: File to write on an alarm.
        follow: Seconds from one look at the table to the next. Default: look once.
    """

    table: tyro.conf.Positional[Path]
    reference: OptionalFile = None
    first: int = 200
    skip: int = 0
    threshold: float = 3.0
    patience: int = 5000
    segmentation: OptionalName = None
    recent: int = 50
    alert: Path = Path("alert.json")
    follow: Annotated[float | None, tyro.conf.arg(help_behavior_hint="")] = None


def read_stars(path: Path, segmentation: str | None) -> pd.DataFrame:
    """Read a table that may be growing: a last line that is not yet whole is left for the next look.

    Returns:
        The columns exam, segmentation, mean (NaN where there are no stars), unit, center, checkpoint_sha256.

    Raises:
        ValueError: it is no table of ratings.
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    columns = ["exam", "segmentation", "mean", "unit", "center", "checkpoint_sha256"]
    if not whole:
        return pd.DataFrame(columns=columns)
    table = pd.read_csv(io.BytesIO(whole), dtype={"exam": str, "segmentation": str})
    if "center" not in table:
        table = table.rename(columns={"look": "center"})  # as tables of former versions call it
    missing = {"exam", "mean"} - set(table.columns)
    if missing:
        raise ValueError(f"{path}: expected a table of python -m dqe_loss.rate, found no column {', '.join(missing)}")
    stars = pd.to_numeric(table["mean"], errors="coerce")
    unknown = table.index[stars.isna() & table["mean"].notna()]
    if unknown.size:
        raise ValueError(
            f"{path}, row {unknown[0] + 2}: the stars are {table['mean'][unknown[0]]!r}, expected a number"
        )
    table = table.assign(mean=stars).reindex(columns=columns)
    return table if segmentation is None else table[table["segmentation"] == segmentation].reset_index(drop=True)


def split_reference(arguments: WatchInferenceOptions) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The reference, and what is to be watched so far.

    Raises:
        ValueError: they were rated by different checkpoints.
    """
    table = read_stars(arguments.table, arguments.segmentation)
    begin = arguments.skip
    if arguments.reference:
        reference = read_stars(arguments.reference, arguments.segmentation)
    else:
        reference, begin = table.iloc[: arguments.first], begin + arguments.first
    watched = table.iloc[begin:]
    for column, what in (("checkpoint_sha256", "checkpoint"), ("unit", "unit of stars"), ("center", "place")):
        values = pd.concat([reference[column], watched[column]]).dropna().unique()
        if len(values) > 1:
            raise ValueError(
                f"the stars come from more than one {what} ({', '.join(map(str, values))}); rate them anew"
            )
    return reference, watched


def watch(arguments: WatchInferenceOptions) -> bool:
    """Watch until an alarm, or once; whether there was an alarm.

    Raises:
        ValueError: an option or a table cannot be used.
        OSError: a table cannot be read, or the alert not be written.
    """
    if arguments.recent < 1 or arguments.skip < 0 or (arguments.follow is not None and not arguments.follow > 0):
        raise ValueError("expected --recent of 1 or more, --skip of 0 or more, and --follow above 0")
    check_outputs([arguments.alert])
    seen, detector = 0, None
    while True:
        reference, watched = split_reference(arguments)
        if arguments.follow is None or arguments.reference or len(reference) == arguments.first:
            detector = detector or DriftWatch(
                reference["mean"].to_numpy(), threshold=arguments.threshold, patience=arguments.patience
            )
            for number in range(seen, len(watched)):
                alarm = detector.add(watched["mean"].iloc[number])
                if alarm:
                    report = describe(alarm, reference, watched.iloc[: number + 1], arguments)
                    write_together({arguments.alert: (json.dumps(report, indent=2) + "\n").encode()})
                    print(f"{report['message']}\nWritten to {arguments.alert}")
                    return True
            seen = len(watched)
        if arguments.follow is None:
            print(f"no departure in {seen} segmentations, by {len(reference)} of reference")
            return False
        time.sleep(arguments.follow)


def describe(
    alarm: Any, reference: pd.DataFrame, watched: pd.DataFrame, arguments: WatchInferenceOptions
) -> dict[str, Any]:
    """The alert file: what was seen, since when, and figures that a human can judge it by."""

    def figures(part: pd.DataFrame) -> dict[str, Any]:
        stars = part["mean"].to_numpy(float)
        rated = stars[np.isfinite(stars)]
        return {
            "segmentations": len(stars),
            "not_rated": int(len(stars) - len(rated)),
            "mean": float(rated.mean()) if rated.size else None,
            "sd": float(rated.std(ddof=1)) if rated.size > 1 else None,
            "share_below_threshold": float(np.mean(~(stars >= arguments.threshold))),
        }

    recent = figures(watched.iloc[-arguments.recent :])
    before, last = figures(reference), watched.iloc[-1]
    mean = "none" if recent["mean"] is None else f"{recent['mean']:.2f}"
    return {
        "message": (
            f"{alarm.chart} (seen at exam {last['exam']}, number {alarm.exam + 1}): the last {recent['segmentations']} "
            f"have mean {mean} and a share of {recent['share_below_threshold']:.0%} below {arguments.threshold:g}, the "
            f"reference {before['mean']:.2f} and {before['share_below_threshold']:.0%}"
        ),
        "departure": alarm.chart,
        "seen_at": {"number": alarm.exam + 1, "exam": last["exam"]},
        "probably_since": {"number": alarm.since + 1, "exam": watched["exam"].iloc[alarm.since]},
        "recent": recent,
        "reference": before,
        "threshold": arguments.threshold,
        "unit": None if pd.isna(last["unit"]) else last["unit"],
        "test": "conformal Shiryaev-Roberts e-detector, see dqe_loss.monitor.drift",
        "evidence": alarm.evidence,
        "limit": alarm.limit,
        "patience": arguments.patience,
        "next": f"once dealt with, go on with --skip {arguments.skip + alarm.exam + 1} or a new --reference",
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the watch; exit code 1 on an alarm."""
    return run_command("watch_inference.py", WatchInferenceOptions, lambda options: int(watch(options)), argv)


if __name__ == "__main__":
    sys.exit(main())
