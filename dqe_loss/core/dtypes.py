"""The number types that the core computes in (contract C10)."""

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Integers, booleans and half precision as float32; float32 and float64 as they are (contract C10)."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def as_signed(x: Tensor) -> Tensor:
    """Integers of the larger unsigned types, for which torch has few operations, as signed ones; others as they are."""
    if x.dtype == torch.uint16:
        return x.int()
    return x.long() if x.dtype in (torch.uint32, torch.uint64) else x


def plain(x: Tensor) -> Tensor:
    """Without a subclass such as MONAI's MetaTensor, whose bookkeeping costs time and breaks compilation."""
    return x if type(x) is Tensor else x.as_subclass(Tensor)
