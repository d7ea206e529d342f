"""The cross-validation of hardened readers: what it pools, and the figures it makes, by numbers done by hand."""

import importlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from dqe_loss.audit.audited_exam import AuditedExam, ExamSource
from dqe_loss.surrogate.agreement import agreement
from dqe_loss.surrogate.checkpoint import load_surrogate, save_surrogate, weights_of

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bench(monkeypatch):
    """Imports a module of the benchmarks."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


def sums(share, size=1000.0):
    """Sums of one view or exam in which mask and refined mask agree by a Dice in each region."""
    return [[share * size / 2, size]] * 3


def own_row(network, views, survey):
    return {"network": [network] * 3, "views": [sums(views)] * 3, "survey": [sums(survey)] * 3}


def base_row(name, kind, dice, published, planes=0.5):
    row = {"name": name, "kind": kind, "error": name, "severity": None, "dice": [dice] * 3, "planes": planes}
    return row | {"published": [published] * 3, "views": [sums(dice)] * 3, "survey": [sums(dice)] * 3}


EXAM = {  # name: kind, Dice, published stars, network's stars, agreement in the planes and in the survey
    "expert": ("expert", 1.0, 5.0, 5.0, 0.94, 0.94),
    "net": ("natural", 0.8, 5.0, 5.0, 0.94, 0.47),
    "half": ("corrupted", 0.4, 5.0, 5.0, 0.47, 0.94),
    "brain": ("absurd", 0.1, 5.0, 5.0, 0.0, 0.0),
}


@pytest.fixture
def measured(bench, tmp_path):
    """Two groups with one exam each, alike but for the second one's expert mask, which loses 7/8 of its stars."""
    record, groups = bench("_hardening_record"), bench("_hardening_groups")
    for exam, group in (("a", "A"), ("b", "B")):
        rows = dict(EXAM)
        if exam == "b":
            rows["expert"] = (*EXAM["expert"][:4], 0.47, 0.94)
        masks = [base_row(n, kind, dice, pub, dice / 2) for n, (kind, dice, pub, *_) in rows.items()]
        base = {"key": {"published": "p"}, "masks": masks, "units": {"raw": [5.0] * 3, "t1 x 4": [4.5] * 3}}
        seen = {n: own_row(network, views, survey) for n, (*_, network, views, survey) in rows.items()}
        units = {"raw": own_row(5.0, 0.94, 0.94), "t1 x 4": own_row(4.0, 0.94, 0.94)}
        gate = {"full_marks": 0.94, "survey_full_marks": 0.94, "exponent": 3.0}
        own = {"key": {"checkpoint": "c"}, "masks": seen, "units": units, "gate": gate}
        record.write_json(record.measured_path(tmp_path, "masks", exam), base)
        record.write_json(record.measured_path(tmp_path, "reader", exam, group), own)
        left = {"planes": [0.95, 0.98, 0.9], "volume": [0.9, 0.96, 0.8 if exam == "b" else 0.9]}
        attack = {"key": {"checkpoint": "c"}, "before": {"planes": [1.0] * 3, "volume": [1.0] * 3}, "after": left}
        record.write_json(record.measured_path(tmp_path, "attacks/reference_on", exam, group), attack)
    return tmp_path, [groups.Group(n.upper(), n.upper(), (ExamSource(n),), (), ()) for n in ("a", "b")]


def test_gate(bench):
    gate = bench("_hardening_gate")
    planes = (torch.rand(2, 4, 3, 12, 12) > 0.6).float()
    both, total = (planes[0] * planes[1]).sum((-2, -1)), (planes[0] + planes[1]).sum((-2, -1))
    made = gate.agreement_of(torch.stack((both, total), -1).double().numpy())
    assert made == pytest.approx(agreement(*planes).numpy(), abs=1e-5)
    assert gate.agreement_of(np.zeros((3, 2))) == 1  # nothing in either
    network = np.array([[9.0, 5.0, 0.0]])  # cut to 6, 5, 1
    half, full = gate.Gate(0.94, 3.0, 0.94), np.full((1, 3), 0.94)
    assert half.stars(network, full) == pytest.approx((6 + 5 + 1) / 3)
    assert half.stars(network, full / 2) == pytest.approx((1 + 5 / 8 + 1 + 4 / 8 + 1) / 3)
    assert half.stars(network, full, np.array([0.47])) == pytest.approx(half.stars(network, full / 2))
    assert half.stars(network, full / 2, np.array([1.0])) == pytest.approx(half.stars(network, full / 2))


def test_pool(bench, measured):
    pool = bench("_hardening_pool")
    pooled = pool.pool(*measured)
    assert list(pooled.masks["exam"]) == ["a"] * 4 + ["b"] * 4
    stars = pool.stars_of(pooled.masks, pooled.gate)
    assert stars.tolist() == pytest.approx([5, 1.5, 1.5, 1, 1.5, 1.5, 1.5, 1])
    three = pool.stars_of(pooled.masks, pooled.gate, thorough=False)
    assert three.tolist() == pytest.approx([5, 5, 1.5, 1, 1.5, 5, 1.5, 1])
    oracle = pool.stars_of(pooled.masks, pooled.gate, oracle=True)
    shares = [1, (0.8 / 0.94) ** 3, (0.4 / 0.94) ** 3, (0.1 / 0.94) ** 3]
    assert oracle.tolist() == pytest.approx(2 * [1 + 4 * share for share in shares])
    assert len(pooled.missing) == 6  # of each exam, three of the four attacks
    assert pooled.masks.loc[0, "survey_WT"] == pytest.approx(0.94)


def test_another_gate(bench, tmp_path):
    gate, taught = bench("_hardening_gate").Gate(0.9, 2.0, 0.7), load_surrogate("hardened")
    save_surrogate(taught, tmp_path / "taught.safetensors", half=True)
    bench("_hardening_ship").write_gated(tmp_path / "taught.safetensors", gate, tmp_path / "gated.safetensors")
    gated = load_surrogate(tmp_path / "gated.safetensors")
    refiner = gated.config.refiner
    assert (refiner.full_marks, refiner.exponent, refiner.survey_full_marks) == (0.9, 2.0, 0.7)
    assert all(torch.equal(weights_of(gated)[name], weight) for name, weight in weights_of(taught).items())


def test_checkpoints_are_not_mixed(bench, measured):
    out, groups = measured
    path = out / "measured" / "A" / "reader" / "a.json"
    path.write_text(path.read_text().replace('"checkpoint": "c"', '"checkpoint": "older"'))
    with pytest.raises(ValueError, match="measures of A with one checkpoint"):
        bench("_hardening_pool").pool(out, groups)
    with pytest.raises(ValueError, match="found none; run --stages teach measure"):
        bench("_hardening_pool").pool(out / "nowhere", groups)


def test_figures(bench, measured):
    pool = bench("_hardening_pool")
    pooled = pool.pool(*measured)
    lines = bench("_hardening_table").lines_of(pooled, {"A": 0.9, "B": 0.8})
    found = {line.figure.goal.measure: line for line in lines}

    def figure(start):
        (name,) = [name for name in found if name.startswith(start)]
        return found[name].figure

    assert figure("expert masks more than").pooled == 0.5  # b's is 3.5 below
    assert figure("expert masks, furthest").worst == ("b", pytest.approx(3.5))
    assert figure("expert masks, furthest").groups == {"A": 0, "B": pytest.approx(3.5)}
    stars, dice = [5, 1.5, 1.5, 1.5, 1.5, 1.5], [1, 0.8, 0.4, 1, 0.8, 0.4]
    assert figure("r of stars").pooled == pytest.approx(np.corrcoef(stars, dice)[0, 1])
    # Of a alone, as all stars of b are the same: ranks 3, 1.5, 1.5 of the stars go with 3, 2, 1 of Dice.
    assert figure("Spearman").pooled == pytest.approx(1.5 / math.sqrt(1.5 * 2))
    assert figure("ROC AUC").pooled == pytest.approx((1 + 3 * 0.5) / 4)
    assert figure("absurd").exams == {"a": pytest.approx(4), "b": pytest.approx(0.5)}
    assert figure("one modality").pooled == pytest.approx(1)
    assert found["one modality x 4 or / 4, stars moved"].beside["published"] == pytest.approx(0.5)
    left = figure("attack from the expert's mask, Dice ET left (guard on, volume)")
    assert left.worst == ("b", 0.8)
    assert left.goal.short(left.pooled) == pytest.approx(0.05)
    assert figure("coverage").pooled == 0.8
    text = bench("_hardening_table").write_results(measured[0] / "results", pooled, {}, {})
    assert "| expert masks, furthest from the published stars | <= 1 | 3.5 | no | 0 | 3.5 | 3.5 (b) |" in text
    assert (measured[0] / "results" / "table.md").read_text() == text


def test_tuning(bench, measured):
    pool = bench("_hardening_pool")
    masks = pool.pool(*measured).masks
    table = bench("_hardening_tune").tune(masks, full_marks=(0.47, 0.94), exponents=(1.0, 3.0))
    grid = table[table["judged"] == "all"]
    far = dict(zip(zip(grid["full_marks"], grid["exponent"], strict=True), grid.iloc[:, 5], strict=True))
    assert far == pytest.approx({(0.47, 1): 0, (0.47, 3): 0, (0.94, 1): 2, (0.94, 3): 3.5})
    chosen = table[table["judged"].str.startswith("A (")].iloc[0]
    assert chosen["full_marks"] == 0.47  # on B, whose expert mask needs it


def test_masks(bench):
    masks = bench("_hardening_masks")
    labels = np.zeros((24, 24, 24), np.uint8)
    labels[6:14, 8:16, 8:16], labels[8:12, 10:14, 10:14] = 2, 3
    brain = np.zeros(labels.shape, bool)
    brain[2:22, 2:22, 2:22] = True
    case = AuditedExam("exam", torch.zeros(1, 4, 24, 24, 24), labels, brain)
    found = list(masks.judged_masks(case, ExamSource("exam"), 0))
    assert found[0].kind == "expert"
    assert {mask.error for mask in found if mask.kind == "corrupted"} >= {"shift", "empty", "whole_brain"}
    assert not any(np.array_equal(mask.labels, labels) for mask in found[1:])
    again = {mask.name: mask.labels for mask in masks.judged_masks(case, ExamSource("exam"), 0)}
    assert all(np.array_equal(mask.labels, again[mask.name]) for mask in found)
    assert len(again) == len(found)


def test_units(bench):
    units = bench("_hardening_units")
    image = torch.rand(1, 4, 6, 6, 6) + 1
    image[..., :2] = 0
    found = dict(units.changed_units(image))
    assert len(found) == 1 + 8 + 2
    assert torch.equal(found["t2 / 4"][:, 2], image[:, 2] / 4)
    head, volume = (found[name] for name in units.SCORED)
    assert (head[..., :2] == 0).all()
    assert (volume[..., :2] < 0).all()
    assert head[0, 1, ..., 2:].mean().abs() < 1e-5
    assert head[0, 1, ..., 2:].std(correction=0) == pytest.approx(1, abs=1e-4)


def test_groups(bench, monkeypatch):
    groups = bench("_hardening_groups")
    monkeypatch.setattr(groups, "find_sources", lambda folders, *_: [ExamSource(folder.name) for folder in folders])
    folders = [Path("BraTS2021_1"), Path("X_2013_2"), Path("X_2013_3"), Path("TCGA-1")]
    made = groups.split_groups(folders, ["seg"], groups.GROUPS, 2, "brats")
    assert [group.name for group in made] == ["2013", "BraTS2021", "first", "phantoms"]
    assert [source.name for source in made[0].sources] == ["X_2013_2", "X_2013_3"]
    assert made[0].taught == (folders[0], folders[3])
    assert made[-1].taught == tuple(folders)
    with pytest.raises(ValueError, match="got X_2013_2 in none"):
        groups.split_groups(folders, ["seg"], ["a=BraTS*"], 0, "brats")
    with pytest.raises(ValueError, match="got BraTS2021_1 in a, b"):
        groups.split_groups(folders, ["seg"], ["a=*", "b=*"], 0, "brats")
    with pytest.raises(ValueError, match="NAME=PATTERN"):
        groups.split_groups(folders, ["seg"], ["*"], 0, "brats")


def test_record(bench, tmp_path):
    record = bench("_hardening_record")
    path, calls = tmp_path / "a.json", []

    def measure():
        calls.append(1)
        return {"value": len(calls)}

    assert record.measured(path, {"checkpoint": "a"}, measure)["value"] == 1
    assert record.measured(path, {"checkpoint": "a"}, measure)["value"] == 1
    assert record.measured(path, {"checkpoint": "b"}, measure)["value"] == 2
