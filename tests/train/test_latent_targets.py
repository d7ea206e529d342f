"""Targets that correct for raters: from the training part alone, and closer to the truth than the mean."""

import numpy as np
import pandas as pd
import pytest
from rated import write_rated_exams

from dqe_loss.data.tables.ratings import PATHS, mean_ratings, read_ratings
from dqe_loss.train.command import read_arguments
from dqe_loss.train.dataset import rated_planes
from dqe_loss.train.latent_targets import latent_ratings


def table_of(quality, bias, noise, seed=0, view=""):
    """Ratings of segmentations of these qualities by simulated raters."""
    rng = np.random.default_rng(seed)
    rows = []
    for i, q in enumerate(quality):
        for j, (b, n) in enumerate(zip(bias, noise, strict=True)):
            stars = float(np.clip(np.rint(q + b + n * rng.standard_normal()), 1, 6))
            row = {"exam": f"e{i // 4}", **{p: f"{p}{i if p == 'segmentation' else i // 4}" for p in PATHS}}
            rows.append(row | {"rater": f"r{j}", "view": view, "stars": stars, "kind": "simulated", "repeat": "0"})
    return pd.DataFrame(rows)


@pytest.mark.parametrize("seed", range(4))
def test_closer_to_the_truth_than_the_mean(seed):
    quality = np.clip(np.random.default_rng(seed).normal(4, 1.2, 80), 1, 6)
    table = table_of(quality, [-0.8, 0.0, 0.2, 0.6], [0.3, 0.4, 1.2, 1.6], seed)
    errors = {}
    for name, rows in (("mean", mean_ratings(table)), ("latent", latent_ratings(table))):
        assert len(rows) == 80 * 3
        assert rows["stars"].between(1, 6).all()
        found = rows[rows["view"] == "axial"]["stars"].to_numpy()
        errors[name] = np.sqrt(np.mean((found - quality) ** 2))
    assert errors["latent"] < 0.9 * errors["mean"]


def test_order_and_columns_are_those_of_the_mean():
    table = table_of([2, 3, 5, 6], [0, 0.5], [0.5, 0.5])
    assert latent_ratings(table).drop(columns="stars").equals(mean_ratings(table).drop(columns="stars"))


def test_views_have_targets_of_their_own():
    good, bad = (table_of([q] * 8, [0, 0], [0.2, 0.2], view=v) for q, v in ((6, "axial"), (1, "coronal")))
    rows = latent_ratings(pd.concat([good, bad], ignore_index=True))
    means = rows.groupby("view")["stars"].mean()
    assert set(means.index) == {"axial", "coronal"}
    assert means["axial"] - means["coronal"] > 3


def test_the_training_takes_it(tmp_path):
    for option in ("--target", "--targets"):
        config = read_arguments(["paper", "--ratings", "t.csv", option, "latent"])
        assert config.targets == "latent"
    table = read_ratings([write_rated_exams(tmp_path)])
    entries = dict.fromkeys(table["segmentation"], tmp_path)
    planes = {t: rated_planes(table, entries, t) for t in ("mean", "latent")}
    assert [p.view for p in planes["mean"]] == [p.view for p in planes["latent"]]
    assert [p.stars for p in planes["mean"]] != [p.stars for p in planes["latent"]]
    # Of a part of the exams alone: what is held out has no say in how raters are judged.
    part = table[table["exam"] != "exam-0"]
    whole, without = (
        {(p.segmentation, p.view): p.stars for p in rated_planes(t, entries, "latent")} for t in (table, part)
    )
    assert any(whole[key] != without[key] for key in without)
