"""Targets that correct for raters: from the training part alone, and closer to the truth than the mean."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from rated import write_rated_exams

from dqe_loss import VIEWS
from dqe_loss.data.split import write_split
from dqe_loss.data.tables.ratings import PATHS, mean_ratings, read_ratings, write_ratings
from dqe_loss.processes import Processes
from dqe_loss.task import GLIOMA
from dqe_loss.train import command
from dqe_loss.train.command import read_arguments
from dqe_loss.train.config import TrainConfig
from dqe_loss.train.dataset import latent_ratings, rated_planes
from dqe_loss.train.network_and_planes import prepare_training


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
    for name, rows in (("mean", mean_ratings(table)), ("latent", latent_ratings(table, GLIOMA))):
        assert len(rows) == 80 * 3
        assert rows["stars"].between(1, 6).all()
        found = rows[rows["view"] == "axial"]["stars"].to_numpy()
        errors[name] = np.sqrt(np.mean((found - quality) ** 2))
    assert errors["latent"] < 0.9 * errors["mean"]


def test_order_and_columns_are_those_of_the_mean():
    table = table_of([2, 3, 5, 6], [0, 0.5], [0.5, 0.5])
    assert latent_ratings(table, GLIOMA).drop(columns="stars").equals(mean_ratings(table).drop(columns="stars"))


def test_views_have_targets_of_their_own():
    good, bad = (table_of([q] * 8, [0, 0], [0.2, 0.2], view=v) for q, v in ((6, "axial"), (1, "coronal")))
    rows = latent_ratings(pd.concat([good, bad], ignore_index=True), GLIOMA)
    means = rows.groupby("view")["stars"].mean()
    assert set(means.index) == {"axial", "coronal"}
    assert means["axial"] - means["coronal"] > 3


def test_many_raters_who_all_say_the_same_leave_no_hole():
    """Their estimates are surer than the grid of qualities is fine; and an estimate may not weigh without bounds."""
    task = replace(GLIOMA, stars=(0.0, 100.0))
    quality = [20, 25, 30, 35, 40, 45]
    table = pd.concat([table_of([0] * 6, [0], [0]).assign(stars=quality, rater=f"r{j}", exam="e") for j in range(80)])
    found = latent_ratings(table.astype({"stars": float}), task)
    assert found[found["view"] == "axial"]["stars"].to_numpy() == pytest.approx(quality, abs=2)


def test_individual_targets_are_the_judgments_themselves():
    table = table_of([2, 5], [0, 1], [0, 0])
    planes = rated_planes(table, dict.fromkeys(table["segmentation"], Path("entry")), "individual")
    assert [(p.segmentation, p.view, p.stars) for p in planes] == [
        (f"segmentation{i}", view, stars) for i, stars in ((0, 2), (0, 3), (1, 5), (1, 6)) for view in VIEWS
    ]


def prepared(tmp_path, table, targets):
    """A training of these rows, with exams 4 and 5 held out."""
    write_ratings(table, tmp_path / "changed.csv")
    split = {f"exam-{i}": "train" if i < 4 else ("validation", "test")[i - 4] for i in range(6)}
    write_split(split, tmp_path / "split.csv")
    config = TrainConfig(
        ratings=(tmp_path / "changed.csv",),
        split=tmp_path / "split.csv",
        out=tmp_path / "run",
        architecture="resnet18",
        field_of_view=(32, 32),
        batch=4,
        micro_batch=4,
        targets=targets,
        device="cpu",
    )
    return prepare_training(config, Processes(0, 1, torch.device("cpu")))


def test_what_is_held_out_has_no_say_in_the_targets_of_a_training(tmp_path):
    table = read_ratings([write_rated_exams(tmp_path)])
    held = table["exam"].isin(["exam-4", "exam-5"])
    # Bob is made the strictest and most erratic of raters, but for the exams to train on.
    other = table.assign(stars=table["stars"].mask(held & (table["rater"] == "bob"), 1.0))
    first, second = (prepared(tmp_path, rows, "latent").planes for rows in (table, other))
    assert first["train"] == second["train"]
    assert first["test"] != second["test"]
    part = table[~held]
    entries = {plane.segmentation: plane.entry for plane in first["train"]}
    assert first["train"] == rated_planes(part, entries, "latent")
    means = rated_planes(table[table["exam"] == "exam-5"], {p.segmentation: p.entry for p in first["test"]}, "mean")
    assert first["test"] == means  # a surrogate is measured against raters, not against an estimate


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


@pytest.mark.parametrize("target", ["mean", "individual", "latent"])
def test_the_target_of_the_command_is_what_the_trainer_gets(tmp_path, monkeypatch, target):
    table = read_ratings([write_rated_exams(tmp_path)])
    seen = {}

    def trainer(config, surrogate, network, planes, *others):
        seen["planes"] = planes
        raise ValueError("far enough")

    monkeypatch.setattr("dqe_loss.train.train_surrogate.Trainer", trainer)
    line = ["paper", "--ratings", tmp_path / "ratings.csv", "--out", tmp_path / "run", "--target", target]
    line += ["--architecture", "resnet18", "--field-of-view", 32, 32, "--batch", 4, "--micro-batch", 4]
    assert command.main([str(word) for word in [*line, "--device", "cpu"]]) == 2
    exams = {plane.exam for plane in seen["planes"]}
    assert len(exams) == 4
    entries = {plane.segmentation: plane.entry for plane in seen["planes"]}
    assert seen["planes"] == rated_planes(table[table["exam"].isin(exams)], entries, target)
