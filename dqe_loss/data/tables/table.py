"""Tables on disk, CSV or Parquet: read as text with a name for each row, written atomically, with relative paths."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from dqe_loss.data.file_names import file_at, written
from dqe_loss.data.tables.csv_text import read_csv
from dqe_loss.outputs import write_together
from dqe_loss.task import BUILT_IN, GLIOMA, Task

if TYPE_CHECKING:
    import pandera.pandas as pa

TASK, SCALE = "task", "scale"
"""Columns of tables of tasks other than the built-in one; see `origin_columns`."""

_SCALE = re.compile(r"-?[\d.e+-]+ to -?[\d.e+-]+")
_SHOWN = 20
_NOTHING = ("na", "n/a", "#n/a", "<na>", "nan", "none", "null")
"""What R, pandas and spreadsheets write for an empty cell, in lower case."""


class TableError(ValueError):
    """A table cannot be used.

    Attributes:
        problems: every problem that was found, with its file and row; the message holds the first twenty.
    """

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        shown = "; ".join(problems[:_SHOWN])
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        super().__init__(f"{shown}{more}" if len(problems) == 1 else f"{len(problems)} problems: {shown}{more}")


def raise_problems(problems: Sequence[str]) -> None:
    """Raise a `TableError` if there are any problems."""
    if problems:
        raise TableError(*problems)


def problems_of(table: pd.DataFrame, wrong: pd.Series, column: str, expected: str) -> list[str]:
    """What to say of values that do not fit.

    Args:
        table: as `read_table` gives it.
        wrong: of which rows.
        column: of the values.
        expected: what should be there.

    Returns:
        A problem each, with its row.
    """
    cells = zip(table["row"][wrong], table[column][wrong], strict=True)
    return [f"{row}: {column} {value!r}: {expected}" for row, value in cells]


def read_table(
    path: str | Path,
    columns: Sequence[str],
    what: str,
    numbers: Sequence[str] = (),
    optional: Sequence[str] = (),
    task: Task | str = "",
    former: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Read a table as it stands.

    Args:
        path: a ``.csv`` file, see `dqe_loss.data.tables.csv_text`, or a ``.parquet`` file.
        columns: that it must have; those (and ``optional`` ones) come out as text, nothing as ``""``.
        what: its name in errors, such as ``"table of ratings"``.
        numbers: those of them that hold numbers, in which a decimal comma is a point.
        optional: columns in which there may be nothing: there and in ``numbers``, NA, nan and the like are nothing,
            too. A name may be "NA".
        task: that it must be of, if it names one in a column ``task``; of a whole task, and not its name alone, its
            ``numbers`` must be on the scale, too, if it says one in a column ``scale``. Any if empty.
        former: names that columns had before, to those that they have now and come out under.

    Returns:
        All its columns, and ``row``: where each row comes from, ``"FILE, row N"`` (the header is row 1).

    Raises:
        TableError: no such file, no table, no rows, columns that are missing, or one under both of its names.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in (".csv", ".parquet"):
        raise TableError(f"{path}: expected a table that ends in .csv or .parquet")
    if not path.is_file():
        raise TableError(f"{path}: expected a {what}, found nothing there; check the path")
    try:
        table = read_csv(path, columns, numbers) if ending == ".csv" else _read_parquet(path)
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from error
    except ValueError as error:
        raise TableError(told(path, error)) from error
    name = task.name if isinstance(task, Task) else task
    if name and TASK in table and (others := sorted(set(table[TASK].astype(str)) - {name})):
        cure = f"give --task {others[0]}" if others[0] in BUILT_IN else "give its file with --task"
        raise TableError(f"{path}: holds data of the task {others[0]!r}, and not of {name!r}; {cure}")
    if isinstance(task, Task) and numbers and SCALE in table:
        _check_scale(path, table[SCALE], task)
    for old, new in (former or {}).items():
        if {old, new} <= set(table):
            raise TableError(
                f"{path}: has the columns {old} and {new}, and {new} is what {old} is called now; rename {new}"
            )
        table = table.rename(columns={old: new})
    missing = [name for name in columns if name not in table]
    if missing:
        of = f" of the task {name!r}" if name not in ("", GLIOMA.name) else ""
        raise TableError(f"{path}: lacks the columns {', '.join(missing)}{of}; it has {', '.join(map(str, table))}")
    if table.empty:
        raise TableError(f"{path}: expected a {what}, found one without rows")
    text = [name for name in dict.fromkeys((*columns, *optional)) if name in table]
    table[text] = table[text].astype(object).where(table[text].notna(), "").astype(str)
    for name in {*numbers, *optional} & set(text):
        table[name] = table[name].mask(table[name].str.strip().str.lower().isin(_NOTHING), "")
    return table.assign(row=[f"{written(str(path))}, row {i}" for i in table.index]).reset_index(drop=True)


def origin_columns(task: Task) -> dict[str, str]:
    """What tables say of a task other than the built-in one, as columns: its name, and the scale of its stars."""
    if task == GLIOMA:
        return {}
    low, high = task.stars
    return {TASK: task.name, SCALE: f"{low:g} to {high:g}"}


def _check_scale(path: Path, said: pd.Series, task: Task) -> None:
    """Refuse stars of another scale, where the table says so: another column of that name says something else."""
    expected = origin_columns(task).get(SCALE, "")
    found = {text for text in said.dropna().astype(str) if _SCALE.fullmatch(text)}
    if expected and (others := sorted(found - {expected})):
        raise TableError(
            f"{path}: its stars are from {others[0]}, but those of the task {task.name!r} from {expected}; write stars "
            "in the task's file as they were when the table was made, or make the table anew"
        )


def told(path: Path, error: ValueError) -> str:
    """What `read_csv` said, with the file's name before it."""
    return f"{path}{', ' if str(error).startswith('row ') else ': '}{error}"


def _read_parquet(path: Path) -> pd.DataFrame:
    """A Parquet file, indexed as `read_csv` does."""
    try:
        with path.open("rb") as file:  # by its name, pyarrow reads no file whose name is not UTF-8
            table = pd.read_parquet(file)
    except (ValueError, OSError) as error:  # pyarrow raises subclasses of these
        raise ValueError(f"cannot be read as a table ({error}); save it again") from error
    return table.set_index(pd.RangeIndex(2, len(table) + 2))


def other_images(rows: pd.DataFrame, exam: str, task: Task) -> list[str]:
    """A problem for each modality of which an exam's rows name several images."""
    problems = []
    for name in task.modalities:
        if (others := rows["row"][rows[name] != rows[name].iloc[0]]).size:
            first = rows["row"].iloc[0]
            problems.append(f"{others.iloc[0]}: exam {exam} has another {name} here than in {first}")
    return problems


def check_table(schema: pa.DataFrameSchema, table: pd.DataFrame, given: pd.DataFrame) -> list[str]:
    """Every value that does not fit.

    Args:
        schema: what the columns must hold; each check says in its ``error`` what is expected.
        table: as `read_table` gives it, its numbers turned into numbers.
        given: the same before that, for the messages.

    Returns:
        A problem each, with its row.
    """
    import pandera.pandas as pa  # late: it takes long, and what reads no table does without

    try:
        schema.validate(table, lazy=True)
    except pa.errors.SchemaErrors as errors:
        problems = []
        for case in errors.failure_cases.sort_values("index", kind="stable").itertuples():
            index = int(case.index)
            reason = "expected a number" if case.check == "not_nullable" else case.check
            value = given[case.column].iloc[index]
            problems.append(f"{table['row'].iloc[index]}: {case.column} {value!r}: {reason}")
        return problems
    return []


def write_table(table: pd.DataFrame, path: str | Path, paths: Sequence[str]) -> None:
    """Write a table atomically, with paths relative to its folder.

    Args:
        table: what to write.
        path: a ``.csv`` or ``.parquet`` file.
        paths: columns that hold paths, ``""`` for none.

    Raises:
        ValueError: if the path ends otherwise.
    """
    path = Path(path)
    relative = table.assign(**{name: [relative_path(value, path.parent) for value in table[name]] for name in paths})
    if path.suffix == ".csv":
        content = relative.to_csv(index=False, lineterminator="\n").encode()
    elif path.suffix == ".parquet":
        buffer = io.BytesIO()
        relative.to_parquet(buffer, index=False)
        content = buffer.getvalue()
    else:
        raise ValueError(f"{path}: expected a table that ends in .csv or .parquet")
    write_together({path: content})


def relative_path(path: str, folder: Path) -> str:
    """Relative to a folder, with ``..`` where need be: absolute paths would not survive a move.

    A path here, and what comes out, is text as `dqe_loss.data.file_names` writes it. The folder's links are followed,
    for ``..`` leads out of where it truly lies; those of the file are kept. Absolute where there is no other way
    (another drive); ``""`` for nothing.
    """
    if not path:
        return ""
    try:
        return written(Path(os.path.relpath(os.path.abspath(file_at(path)), _true(folder))).as_posix())
    except ValueError:
        return written(os.path.abspath(file_at(path)))


def absolute_path(path: str, folder: Path) -> str:
    """The inverse of `relative_path`."""
    return written(os.path.normpath(os.path.join(_true(folder), file_at(path)))) if path else ""


@lru_cache(maxsize=16)
def _true(folder: Path) -> str:
    """Where a folder truly lies; asked of the disk once, not for each of a table's paths."""
    return os.path.realpath(folder)
