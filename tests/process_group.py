"""One of several processes that train together on a CPU, as ``torch.multiprocessing.spawn`` starts them in tests."""

from contextlib import contextmanager
from pathlib import Path

import torch

RANKS = 2


@contextmanager
def process_group(rank, folder):
    """Meet the others in a folder, and leave them again; one thread each."""
    torch.set_num_threads(1)
    place = (Path(folder) / "rendezvous").as_uri()
    torch.distributed.init_process_group("gloo", init_method=place, rank=rank, world_size=RANKS)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()
