"""The whole way on phantoms: collect (scripted raters), report, train, evaluate against held-out raters, the loss."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from studies import serving

from dqe_loss import DQELoss
from dqe_loss.cli import main as dqe
from dqe_loss.collect.order import trials_of
from dqe_loss.collect.study_file import read_study
from dqe_loss.data.phantom import make_phantom

pytestmark = pytest.mark.slow

BIAS = {"ann": -0.8, "bob": 0.1, "cleo": 0.2, "dan": 0.5}
NOISE = {"ann": 0.4, "bob": 0.5, "cleo": 0.6, "dan": 1.3}
HELD_OUT = ("eve", "fay")


def test_the_whole_way(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*options):
        assert dqe([str(option) for option in options]) == 0

    run("simulate", "--phantoms", 6, "--segmentations", 5, "--raters", 1, "--out", "simulated")
    whole = pd.read_csv("simulated/ratings.csv")
    quality = whole.groupby("segmentation")["metric_stars"].mean()

    # Collect: the real command draws and begins, the real application takes the answers of a program.
    raters = [*BIAS, *HELD_OUT]
    begin = ("collect", "--data", "simulated/ratings.csv", "--out", "ratings", "--kind", "simulated")
    run(*begin, "--raters", *raters, "--repeats", 0.3, "--draw-only", "--workers", 1)
    folder = tmp_path / "ratings"
    study = read_study(folder)
    assert len(study.cases) == 30
    truth = [quality[str(p)] for p in (f"segmentations/{c.exam}/{c.mask.rpartition('/')[2]}" for c in study.cases)]
    with serving(study, folder) as (_, clients):
        for rater, client in clients.items():
            rng = np.random.default_rng(raters.index(rater))
            state = client.state()
            for trial in trials_of(study, rater):
                felt = truth[trial.cases[0]] + BIAS.get(rater, 0) + NOISE.get(rater, 0.3) * rng.standard_normal()
                response = client.answer(int(np.clip(np.rint(felt), 1, 6)), state)
                assert response.status_code == 200
                state = response.json()
            assert state["case"] is None

    # Report: biases and noises come back within their intervals.
    run("collect", "report", "ratings", "--resamples", 200)
    report = json.loads((folder / "report" / "reliability.json").read_text())["groups"][""]
    assert report["kind"] == "simulated"
    found = {rater["rater"]: rater for rater in report["raters"]}
    mean = sum(BIAS.values()) / len(raters)
    for rater in raters:
        bias, spread = found[rater]["bias"], found[rater]["spread"]
        assert bias["low"] - 0.1 <= BIAS.get(rater, 0) - mean <= bias["high"] + 0.1
        assert spread["low"] - 0.1 <= NOISE.get(rater, 0.3) <= spread["high"] + 0.1
    assert "more severe than the others" in found["ann"]["remarks"]
    assert found["dan"]["retest"]["sd"] > found["bob"]["retest"]["sd"]

    # Train on four raters, evaluate against the two who were held out.
    table = pd.read_csv(folder / "ratings.csv")
    for name, part in (("taught", table["rater"].isin(list(BIAS))), ("held", table["rater"].isin(HELD_OUT))):
        table[part].to_csv(folder / f"{name}.csv", index=False)
    small = ["--epochs", 1, "--batch", 6, "--micro-batch", 6, "--architecture", "resnet18", "--workers", 0]
    small.append("--augmentation.no-enabled")
    run("train", "paper", "--ratings", "ratings/taught.csv", "--out", "mine", "--target", "latent", *small)
    where = ["--ratings", "ratings/held.csv", "--split", "mine/split.csv", "--out", "evaluation"]
    run("evaluate", "mine/surrogate.safetensors", *where, "--resamples", 50)
    numbers = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert numbers["kind_of_ratings"] == numbers["ratings"]["kind"] == "simulated"
    assert numbers["ratings"]["raters"] == 2
    assert numbers["ratings"]["segmentations"] == 5

    # The loss.
    exam = make_phantom(100)
    image = torch.from_numpy(exam.image)[None].float()
    labels = torch.from_numpy(exam.segmentations["reference"])[None, None]
    logits = torch.zeros(1, 3, *labels.shape[2:], requires_grad=True)
    loss = DQELoss("mine/surrogate.safetensors", center="target")(logits, labels, image=image)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.abs().sum() > 0
