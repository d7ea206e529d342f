"""By which label scheme the label maps of a table of ratings are read."""

import pandas as pd

from dqe_loss.data.tables.ratings import SCHEME
from dqe_loss.task import GLIOMA, LabelScheme, Task


def scheme_of(table: pd.DataFrame, said: str | None, task: Task = GLIOMA) -> LabelScheme:
    """The scheme of the rated label maps: what the table says, or what was said where it says nothing.

    Args:
        table: as `read_ratings` returns it.
        said: name of a scheme; None if nobody said any.
        task: what was rated.

    Raises:
        ValueError: the table names several schemes, or another than was said: labels would be read as other tissues.
    """
    told = table[SCHEME].fillna("") if SCHEME in table else pd.Series("", table.index)
    names = sorted({*told, *([said] if said else [])} - {""})
    if len(names) > 1:
        of = "the ratings' column label_scheme" + (" and --label-scheme" if said else "")
        raise ValueError(
            f"expected label maps of one scheme, {of} say {' and '.join(names)}; give the exams of each scheme in a "
            "run of their own"
        )
    return task.scheme(names[0] if names else None)
