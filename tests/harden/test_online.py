"""Online hardening: the loss's refiner learns on what the network makes, and nobody else's does."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.losses import DiceLoss
from process_group import RANKS, process_group
from torch import nn

from dqe_loss import BLOBS, DQELoss, DQEMetric, Surrogate, SurrogateConfig, load_surrogate, save_surrogate
from dqe_loss.data.phantom import make_blob
from dqe_loss.harden import online, online_round
from dqe_loss.harden.online import TAUGHT, OnlineHardening
from dqe_loss.harden.shown import ShownPlanes, draw_shown, show
from dqe_loss.surrogate.checkpoint import fingerprint
from dqe_loss.surrogate.config import NO_NETWORK
from dqe_loss.surrogate.refiner import Refiner, RefinerConfig

SMALL = {"every": 2, "steps": 2, "batch": 4, "room": 24}


def make_surrogate(refiner=True):
    torch.manual_seed(0)
    config = SurrogateConfig(
        architecture=NO_NETWORK,
        task=BLOBS,
        modalities=BLOBS.modalities,
        field_of_view=BLOBS.field_of_view,
        stars=BLOBS.stars,
        normalization="head_mean",
        refiner=RefinerConfig((4, 4, 4, 4, 4, 4), "batch") if refiner else None,
        kind_of_ratings="metric",
        data="no ratings",
    )
    return Surrogate(config, Refiner(config.refiner, BLOBS) if refiner else None)


def make_batch(seeds=(0, 1)):
    """Images and regions of synthetic exams, and the logits of a network that draws too much."""
    blobs = [make_blob(seed) for seed in seeds]
    image = torch.stack([torch.from_numpy(blob.image).float() for blob in blobs])
    labels = torch.stack([torch.from_numpy(next(iter(blob.segmentations.values())))[None] for blob in blobs])
    regions = (labels > 0).expand(-1, len(BLOBS.regions), -1, -1, -1).float()
    grown = nn.functional.max_pool3d(regions, 7, 1, 3)
    return image, regions, 6 * grown - 3


def make_criterion(surrogate=None):
    return DiceLoss(sigmoid=True) + 0.1 * DQELoss(surrogate or make_surrogate(), on_small="pad")


def run(keep_up, epochs, batch, steps=2):
    image, regions, logits = batch
    rows = []
    for _ in range(epochs):
        for _ in range(steps):
            keep_up.step(logits, regions, image=image)
        rows.append(keep_up.epoch_end())
    return rows


def weights_of(keep_up):
    return {name: value.clone() for name, value in keep_up.surrogate.refiner.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def batch():
    return make_batch()


def test_the_judge_learns_what_the_network_does(batch):
    """Beginning as one that believes every mask, it comes to see that the network draws too much."""
    criterion = make_criterion()
    keep_up = OnlineHardening(criterion, every=1, steps=150, batch=4, learning_rate=1e-2)
    image, _, logits = batch
    before = criterion.terms[1].rate(logits, image=image).mean()
    (row,) = run(keep_up, 1, batch)
    assert row["kept"] == 1
    assert row["judge_error"] < 0.6 * row["judge_error_before"]
    assert 0 < row["network"] < 1
    assert (row["epoch"], row["round"], row["planes"]) == (1, 1, 24)
    assert {"loss", "mask_dice", "refined_dice", "attack_gain", "right", "right_before"} < set(row)
    assert keep_up.log == [row]
    assert criterion.terms[1].rate(logits, image=image).mean() < before


def test_a_round_comes_every_few_epochs_and_only_then_is_looked(batch, monkeypatch):
    keep_up = OnlineHardening(make_criterion(), **SMALL)
    looked = []
    monkeypatch.setattr(online, "show", lambda *a, **o: looked.append(keep_up.epoch) or show(*a, **o))
    before = weights_of(keep_up)
    image, regions, logits = batch
    keep_up.step(logits, regions, image=image)
    assert keep_up.epoch_end() is None
    assert not looked
    assert same(weights_of(keep_up), before)
    keep_up.step(logits, regions, image=image)
    assert keep_up.epoch_end()["epoch"] == 2
    assert looked == [1]


def test_only_the_loss_that_was_given_has_another_judge(batch, monkeypatch):
    """A metric that shares the surrogate goes on to measure the same."""
    monkeypatch.setattr(online_round, "judge_shown", lambda *given: _AlwaysPerfect)
    surrogate = make_surrogate()
    metric, other, criterion = DQEMetric(surrogate), DQELoss(surrogate, on_small="pad"), make_criterion(surrogate)
    start = fingerprint(surrogate)
    keep_up = OnlineHardening(criterion, **SMALL)
    run(keep_up, 2, batch)
    assert fingerprint(surrogate) == start == fingerprint(metric.surrogate) == fingerprint(other.surrogate)
    assert criterion.terms[1].surrogate is keep_up.surrogate is not surrogate
    assert fingerprint(keep_up.surrogate) != start


class _AlwaysPerfect:  # so that no round is undone
    error = right = network = distance = 0.0


def test_the_judge_stays_frozen(batch):
    criterion = make_criterion()
    keep_up = OnlineHardening(criterion, **SMALL)
    run(keep_up, 2, batch)
    assert list(criterion.parameters()) == []
    assert not any(p.requires_grad or p.grad is not None for p in keep_up.surrogate.parameters())
    assert not keep_up.surrogate.refiner.training
    image, regions, logits = batch
    prediction = logits.clone().requires_grad_()
    criterion(prediction, regions, image=image).backward()
    assert prediction.grad.isfinite().all()


def test_batch_statistics_stay(batch, monkeypatch):
    monkeypatch.setattr(online_round, "judge_shown", lambda *given: _AlwaysPerfect)
    keep_up = OnlineHardening(make_criterion(), **SMALL)
    before = weights_of(keep_up)
    run(keep_up, 2, batch)
    after = weights_of(keep_up)
    running = [name for name in before if "running" in name]
    assert running
    assert all(torch.equal(before[name], after[name]) for name in running)
    assert not same(before, after)


def test_a_round_that_makes_it_worse_is_undone(batch):
    keep_up = OnlineHardening(make_criterion(), **(SMALL | {"steps": 8, "learning_rate": 10.0}))
    before = weights_of(keep_up)
    row = run(keep_up, 2, batch)[1]
    assert row["kept"] == 0
    assert row["judge_error"] + 1 - row["right"] > row["judge_error_before"] + 1 - row["right_before"]
    assert same(weights_of(keep_up), before)
    assert not keep_up.surrogate.config.data.endswith(TAUGHT)  # nothing was learned, and nothing is said
    assert keep_up.state_dict()["taught"] is False


def test_its_optimizer_is_not_the_trainings(batch, monkeypatch):
    """The warm-up counts the training's steps, and those of the judge are none."""
    monkeypatch.setattr(online_round, "judge_shown", lambda *given: _AlwaysPerfect)
    image, regions, logits = batch
    criterion = DiceLoss(sigmoid=True) + 0.1 * DQELoss(make_surrogate(), on_small="pad", warmup=50)
    keep_up = OnlineHardening(criterion, **SMALL)
    prediction = logits.clone().requires_grad_()
    for _ in range(2):
        criterion(prediction, regions, image=image)  # gradients are gathered: no step yet
        run(keep_up, 1, batch)
    assert keep_up.taught
    assert int(criterion.steps_done) == 0


def test_only_what_the_loss_rates_is_shown(batch):
    """Not exams whose target is empty, nor crops that are too small; and where planes lie is the loss's choice."""
    image, regions, logits = batch
    term = DQELoss(make_surrogate())
    half = regions.clone()
    half[1] = 0
    planes, truth = show(term, logits, half, image=image)
    assert len(planes) == len(truth) == len(show(term, logits[:1], half[:1], image=image[:1])[0])
    apart = torch.roll(logits, 8, 2)
    at_target = show(DQELoss(make_surrogate(), center="target"), apart, regions, image=image)
    assert at_target[1].sum() > show(term, apart, regions, image=image)[1].sum()


def test_the_same_seed_gives_the_same_judge(batch):
    """Whatever else has drawn random numbers."""
    found = []
    for seed, drawn in ((0, 1), (0, 5), (1, 1)):
        keep_up = OnlineHardening(make_criterion(), seed=seed, **SMALL)
        torch.manual_seed(drawn)
        run(keep_up, 2, batch)
        found.append(weights_of(keep_up))
    assert same(found[0], found[1])
    assert not same(found[0], found[2])


def test_a_resumed_training_goes_on_to_the_same(batch, tmp_path):
    whole = OnlineHardening(make_criterion(), **SMALL)
    run(whole, 4, batch)
    first = OnlineHardening(make_criterion(), **SMALL)
    run(first, 3, batch)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = OnlineHardening(make_criterion(), **SMALL)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert second.epoch == 3
    assert same(weights_of(second), weights_of(first))
    run(second, 1, batch)
    assert same(weights_of(second), weights_of(whole))
    assert second.log == whole.log
    other = copy.deepcopy(make_surrogate())
    nn.init.zeros_(next(other.refiner.parameters()))
    with pytest.raises(ValueError, match="a training that began with the checkpoint"):
        OnlineHardening(make_criterion(other), **SMALL).load_state_dict(first.state_dict())


def test_what_it_saves_says_what_it_is(batch, tmp_path):
    keep_up = OnlineHardening(make_criterion(), **SMALL)
    assert keep_up.surrogate.config.data == "no ratings"
    run(keep_up, 4, batch)
    assert keep_up.surrogate.config.data == f"no ratings{TAUGHT}"
    save_surrogate(keep_up.surrogate, tmp_path / "taught.safetensors")
    read = load_surrogate(tmp_path / "taught.safetensors")
    assert read.config.data.endswith(TAUGHT)
    image, _, logits = batch
    again = DQELoss(read, on_small="pad").rate(logits, image=image)
    torch.testing.assert_close(again, keep_up._terms[0].rate(logits, image=image))


def test_terms_that_were_moved_apart_are_taught_alike(batch):
    criterion = make_criterion() + 0.1 * DQELoss(make_surrogate(), on_small="pad", guard=None)
    keep_up = OnlineHardening(criterion, **SMALL)
    criterion.terms[2].double()  # a copy of its own
    run(keep_up, 2, batch)
    first, second = (term.surrogate for term in criterion.terms[1:])
    assert first is not second
    for name, value in first.refiner.state_dict().items():
        torch.testing.assert_close(second.refiner.state_dict()[name], value, check_dtype=False)
    assert second.config.data.endswith(TAUGHT)


def test_planes_crops_and_probabilities(batch):
    image, regions, logits = batch
    keep_up = OnlineHardening(DiceLoss() + 0.1 * DQELoss(make_surrogate(), on_small="pad"), **(SMALL | {"every": 1}))
    keep_up.step(logits[..., 24].sigmoid(), regions[..., 24], image=image[..., 24])
    assert len(keep_up._shown.kept) == 2
    mask = keep_up._shown.kept[0].mask
    assert mask.min() >= 0
    assert mask.max() <= 1
    box = (..., slice(8, 40), slice(8, 40), slice(8, 40))
    keep_up.step(logits[box].sigmoid(), regions, image=image, origin=(8, 8, 8))
    assert keep_up.epoch_end()["planes"] == 2 + 2 * 3 * 2
    bound = make_criterion().bound()
    assert OnlineHardening(bound).surrogate is bound.loss.terms[1].surrogate


def test_what_has_diverged_teaches_nothing(batch):
    image, regions, logits = batch
    keep_up = OnlineHardening(make_criterion(), **(SMALL | {"every": 1}))
    keep_up.step(logits, regions, image=image)
    broken = logits.clone()
    broken[0] = torch.nan
    keep_up.step(broken, regions, image=image)
    assert all(plane.mask.isfinite().all() for plane in keep_up._shown.kept)


def test_of_many_planes_each_has_the_same_chance():
    shown, counts = ShownPlanes(BLOBS, 4), torch.zeros(12)
    truth = torch.zeros(12, len(BLOBS.regions), 2, 2)
    scans = torch.arange(12.0).view(12, 1, 1, 1).expand(12, len(BLOBS.modalities), 2, 2)
    for seed in range(400):
        shown.clear()
        shown.add(scans, truth, truth, np.random.default_rng(seed))
        assert (len(shown.kept), shown.seen) == (4, 12)
        for plane in shown.kept:
            counts[int(plane.scans[0, 0, 0])] += 1
    assert counts.min() > 90  # 133 each are expected
    assert counts.max() < 180


def test_batches_hold_the_networks_masks_and_others(batch):
    keep_up = OnlineHardening(make_criterion(), **(SMALL | {"every": 1}))
    image, regions, logits = batch
    keep_up.step(logits, regions, image=image)
    planes = keep_up._shown.kept
    for share in (0.0, 1.0):
        scans, masks, truth = draw_shown(planes, BLOBS, 16, share, (3, 4))
        assert scans.shape[0] == masks.shape[0] == truth.shape[0] == 16
        assert masks.shape == truth.shape
        assert 0 <= masks.min() <= masks.max() <= 1
        assert set(truth.unique().tolist()) <= {0.0, 1.0}
        lesions = [(mask > 0.5, one > 0.5) for mask, one in zip(masks, truth, strict=True) if one.any()]
        assert any(torch.equal(mask, one) for mask, one in lesions) != bool(share)  # of the network's none is right


def test_what_cannot_be(batch):
    with pytest.raises(ValueError, match=r"expected a criterion that holds a DQELoss"):
        OnlineHardening(DiceLoss(sigmoid=True))
    with pytest.raises(ValueError, match=r"this one has none; take 'hardened', or give yours one by dqe harden"):
        OnlineHardening(make_criterion(make_surrogate(refiner=False)))
    other = make_surrogate()
    nn.init.zeros_(next(other.refiner.parameters()))
    with pytest.raises(ValueError, match="the terms of this criterion have several"):
        OnlineHardening(make_criterion() + 0.1 * DQELoss(other))
    with pytest.raises(ValueError, match="every must be at least 1, got 0"):
        OnlineHardening(make_criterion(), every=0)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        OnlineHardening(make_criterion(), steps=0)
    keep_up = OnlineHardening(make_criterion(), every=1)
    image, _, logits = batch
    with pytest.raises(ValueError, match="expected a target beside the prediction, got none"):
        keep_up.step(logits, None, image=image)
    with pytest.warns(UserWarning, match="OnlineHardening has nothing to teach on: call step"):
        assert keep_up.epoch_end() is None


def work(rank: int, folder: str) -> None:
    with process_group(rank, folder):
        keep_up = OnlineHardening(make_criterion(), **(SMALL | {"steps": 4, "learning_rate": 1e-2}))
        (_, row) = run(keep_up, 2, make_batch((rank,)))
        torch.save({"weights": weights_of(keep_up), "row": row}, Path(folder) / f"{rank}.pt")


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch is built without distributed")
def test_all_processes_have_the_judge_of_the_first(tmp_path):
    torch.multiprocessing.spawn(work, (str(tmp_path),), nprocs=RANKS)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(RANKS))
    assert same(first["weights"], second["weights"])
    assert first["row"]["kept"] == 1
    assert second["row"] is None
