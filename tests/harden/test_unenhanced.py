"""Tumors that take up no contrast agent are made of those that do, for scans, reference and other masks alike."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from taught import make_taught

from dqe_loss.harden import scenes, unenhanced
from dqe_loss.harden.masks import KINDS
from dqe_loss.harden.unenhanced import unenhance, unenhanced_labels
from dqe_loss.task import GLIOMA

NECROSIS, EDEMA, ENHANCING = 1, 2, 3


@pytest.fixture(scope="module")
def exam(tmp_path_factory):
    return make_taught(tmp_path_factory.mktemp("exams"))


@pytest.fixture
def plane():
    """Scans ``(4, 32, 32)`` of a brain of 0.3 with a tumor whose ring enhances, a bright vessel, and labels."""
    scans = torch.full((4, 32, 32), 0.3)
    truth = torch.zeros(32, 32, dtype=torch.uint8)
    truth[8:24, 8:24] = EDEMA
    truth[12:20, 12:20] = ENHANCING
    truth[14:18, 14:18] = NECROSIS
    scans[1, 12:20, 12:20] = 0.2
    scans[0][truth == ENHANCING] = 0.9
    scans[0, 2, 2] = 0.8
    return scans, truth


def drawn(monkeypatch, **shares):
    for name, share in shares.items():
        monkeypatch.setattr(unenhanced, name, share)
    return np.random.default_rng(0)


@pytest.mark.parametrize("local", [0.0, 1.0])
def test_what_enhanced_is_as_bright_as_without_contrast_agent_and_labeled_so(plane, monkeypatch, local):
    scans, truth = plane
    given = scans.clone()
    seen, labels = unenhance(scans, truth, drawn(monkeypatch, LOCAL=local, MOVED=0.0), GLIOMA)
    torch.testing.assert_close(seen[0, 12:20, 12:20], seen[1, 12:20, 12:20])  # medians over the brain are equal here
    assert seen[0, 2, 2].item() == pytest.approx(0.8 if local else 0.3)  # the vessel
    assert torch.equal(seen[1:], scans[1:])
    assert torch.equal(scans, given)
    assert torch.equal(labels == NECROSIS, (truth == NECROSIS) | (truth == ENHANCING))
    assert torch.equal(labels == EDEMA, truth == EDEMA)


@pytest.mark.parametrize(("grown", "sign"), [(1.0, 1), (0.0, -1)])
def test_a_core_is_grown_or_shrunk_within_its_tumor(plane, monkeypatch, grown, sign):
    scans, truth = plane
    _, labels = unenhance(scans, truth, drawn(monkeypatch, MOVED=1.0, GROWN=grown, WIDTHS=(5,)), GLIOMA)
    assert int((labels == NECROSIS).sum()) == (8 + 4 * sign) ** 2
    assert torch.equal(labels > 0, truth > 0)
    assert not (labels == ENHANCING).any()


def test_a_tumor_with_no_other_tissue_keeps_its_core(plane, monkeypatch):
    scans, truth = plane
    alone = replace(GLIOMA, unenhanced={"enhancing": "necrosis", "edema": "necrosis"})
    _, labels = unenhance(scans, truth, drawn(monkeypatch, MOVED=1.0), alone)
    assert torch.equal(labels, (truth > 0).to(torch.uint8) * NECROSIS)


@pytest.mark.parametrize("kind", ["right", "wrong", "displaced"])
def test_masks_of_the_exam_are_relabeled_with_its_scene(exam, monkeypatch, kind):
    monkeypatch.setattr(scenes, "UNENHANCED", 1.0)
    monkeypatch.setattr(scenes, "TRANSPLANT", 0.0)
    found = set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        scene = scenes.draw_scene([exam], rng)
        assert scene.unenhanced == scene.truth.any().item()
        found |= set(KINDS[kind][1](scene, [exam], rng).unique().tolist()) if scene.unenhanced else set()
    assert found == {0, NECROSIS, EDEMA}


def test_labels_of_a_task_without_contrast_stay_as_they_are():
    labels = torch.arange(4, dtype=torch.uint8)
    assert torch.equal(unenhanced_labels(labels, replace(GLIOMA, unenhanced={})), labels)
    assert unenhanced_labels(labels, GLIOMA).tolist() == [0, NECROSIS, EDEMA, NECROSIS]
