"""Regions that overlap in part: each tissue comes back from them."""

import numpy as np
import pytest
import torch
from small_tasks import CT, PARTS

from dqe_loss.data.corruption import corrupt
from dqe_loss.data.corruption.label_maps import from_painted_regions, painted_regions
from dqe_loss.harden.masks import as_labels, as_regions
from dqe_loss.task import BLOBS, GLIOMA, Task

OVERLAPS = {
    "two": {"A": ("a", "b"), "B": ("b", "c")},
    "one in both": {"C": ("d",), "A": ("a", "b", "d"), "B": ("b", "c", "d")},
    "a ring": {"A": ("a", "b"), "B": ("b", "c"), "C": ("c", "a")},
    "in a whole": {"W": ("a", "b", "c", "d"), "A": ("a", "b"), "B": ("b", "c")},
}


def make_task(parts):
    tissues = sorted({tissue for region in parts.values() for tissue in region})
    return Task("x", ("scan",), tuple(parts), tuple(tissues), parts=parts)


@pytest.mark.parametrize("name", OVERLAPS)
def test_no_tissue_is_lost(name):
    task = make_task(OVERLAPS[name])
    labels = np.random.default_rng(0).integers(0, len(task.tissues) + 1, (6, 6, 6), dtype=np.uint8)
    assert np.array_equal(from_painted_regions(painted_regions(labels, task), task), labels)
    plane = torch.from_numpy(labels[0])
    assert torch.equal(as_labels(as_regions(plane, task), task), plane)


def test_an_error_keeps_what_it_does_not_touch():
    task = make_task(OVERLAPS["two"])
    labels = np.zeros((30, 12, 12), np.uint8)
    for label in (1, 2, 3):
        labels[8 * label - 5 : 8 * label + 3, 3:9, 3:9] = label
    worse = corrupt(labels, [("erode", 0.2)], rng=np.random.default_rng(0), brain=labels >= 0, task=task)
    assert 0 < (worse > 0).sum() < (labels > 0).sum()
    assert worse[[7, 15, 23], 6, 6].tolist() == [1, 2, 3]


@pytest.mark.parametrize("task", [GLIOMA, BLOBS, PARTS, CT], ids=lambda task: task.name)
def test_nested_regions_are_painted_as_ever(task):
    assert task.layers == tuple(((name,), label) for name, label in task.painting)


def test_whole_and_halves_are_painted_as_ever():
    assert PARTS.painting == (("whole", 1), ("front", 1), ("back", 2))
