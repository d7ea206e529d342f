"""What a surrogate has to beat: the mean of all ratings, and a linear model of the mask's volume, blind to the image.

Raters like large, whole masks; a surrogate that is no better than these two has learned that at most.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin, clone
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict

Array = NDArray[np.float64]

BASELINES: dict[str, RegressorMixin] = {"constant mean": DummyRegressor(), "linear in volume": LinearRegression()}
"""Baselines by name, unfitted."""


def predict_baselines(
    volumes: ArrayLike,
    rated: ArrayLike,
    exams: ArrayLike,
    *,
    train_volumes: ArrayLike | None = None,
    train_rated: ArrayLike | None = None,
) -> dict[str, Array]:
    """Predictions of the baselines, never for an exam that they were fitted on.

    Args:
        volumes: ``(N, 3)`` region volumes of what is to be rated.
        rated: ``(N,)`` its ratings; used where there is no training set.
        exams: ``(N,)`` exam of each row.
        train_volumes: ``(M, 3)`` region volumes of the training set. Without one each exam is predicted by a fit to
            all the others (leave one exam out).
        train_rated: ``(M,)`` ratings of the training set.

    Returns:
        Name to ``(N,)`` predicted stars; NaN where a single exam leaves nothing to fit.

    Raises:
        ValueError: if the training set is empty or half given.
    """
    x, y, groups = np.asarray(volumes, dtype=np.float64), np.asarray(rated, dtype=np.float64), np.asarray(exams)
    if (train_volumes is None) != (train_rated is None):
        raise ValueError("expected both the volumes and the ratings of a training set, got one of them")
    if train_volumes is not None and train_rated is not None:
        if not len(np.asarray(train_rated)):
            raise ValueError("expected ratings to fit the baselines to, got an empty training set")
        fitted = {name: model.fit(train_volumes, train_rated) for name, model in _fresh()}
        return {name: model.predict(x) for name, model in fitted.items()}
    if len(np.unique(groups)) < 2:
        return {name: np.full(len(y), np.nan) for name in BASELINES}
    return {name: cross_val_predict(model, x, y, groups=groups, cv=LeaveOneGroupOut()) for name, model in _fresh()}


def _fresh() -> list[tuple[str, RegressorMixin]]:
    return [(name, clone(model)) for name, model in BASELINES.items()]
