"""Boxes: the smallest one around what is not 0, alike in arrays and tensors."""

import numpy as np
import pytest
import torch
from helpers import quick
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dqe_loss.core.boxes import array_box, tensor_box

SHAPE = (2, 3, 4, 5, 6)


@quick
@given(
    values=arrays(np.uint8, SHAPE, elements=st.sampled_from([0] * 9 + [3])),
    order=st.permutations([2, 3, 4]),
)
def test_the_box_holds_all_and_no_smaller_one_does(values, order):
    volume = torch.from_numpy(values).permute(0, 1, *order)  # any order of memory
    box = tensor_box(volume, leading=2)
    occupied = volume.amax((0, 1)).numpy()
    assert volume[box].sum() == volume.sum()
    assert array_box(occupied) == (box[2:] if occupied.any() else None)
    for axis, side in enumerate(box[2:]):
        for edge in (side.start, side.stop - 1):
            assert occupied.take(edge, axis).any() or not occupied.any()


@pytest.mark.parametrize("shape", [(7,), (5, 6), (4, 5, 6)], ids=len)
def test_axes_of_space_only(shape):
    values = np.zeros(shape, bool)
    values[tuple(size - 2 for size in shape)] = True
    assert tensor_box(torch.from_numpy(values)) == array_box(values) == tuple(slice(n - 2, n - 1) for n in shape)
    assert array_box(values, 3) == tuple(slice(max(n - 5, 0), n) for n in shape)
