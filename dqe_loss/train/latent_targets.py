"""Targets that correct for each rater's bias and precision, instead of the raters' plain mean."""

import pandas as pd

from dqe_loss.data.tables.ratings import JUDGED, judgments_by_view, mean_ratings, paths_of
from dqe_loss.metrics.latent_raters import fit_latent
from dqe_loss.task import GLIOMA, Task


def latent_ratings(table: pd.DataFrame, task: Task = GLIOMA) -> pd.DataFrame:
    """The quality of each rated view, as `dqe_loss.metrics.latent_raters` estimates it from these rows alone.

    A judgment of all views is one judgment, whose estimate counts in each view. Qualities are relative to the mean of
    these raters: what they all have in common is not corrected.

    Args:
        table: rows of a ratings table, as `dqe_loss.data.tables.ratings.read_ratings` returns it: those to learn from,
            and no others, for raters must not be judged by what is held out.
        task: what was rated.

    Returns:
        As of `dqe_loss.data.tables.ratings.mean_ratings`, with the estimates for ``stars``, within the scale.
    """
    judged = table[list(JUDGED)].agg("\0".join, axis=1)
    fit = fit_latent(judged, table["rater"], table["stars"], groups=table["exam"], scale=task.stars)
    quality = fit.items["quality"].reindex(judged).to_numpy()
    weight = 1 / fit.items["sd"].reindex(judged).to_numpy() ** 2
    single = table.assign(quality=quality, weight=weight).drop_duplicates(list(JUDGED))
    keys = ["exam", *paths_of(task), "view"]
    # A view may have been judged by itself and together with the others: the surer estimate counts more.
    estimates = judgments_by_view(single, task)
    estimates = estimates.assign(weighted=estimates["quality"] * estimates["weight"])
    sums = estimates.groupby(keys, sort=False)[["weighted", "weight"]].sum()
    stars = (sums["weighted"] / sums["weight"]).clip(*task.stars).rename("stars").reset_index()
    return mean_ratings(table, task).drop(columns="stars").merge(stars, on=keys, how="left")
