"""Do the first half of each job in threads, a few jobs ahead of who takes them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

import torch

Job = TypeVar("Job")
Ready = TypeVar("Ready")


def read_ahead(jobs: Iterable[Job], prepare: Callable[[Job], Ready], workers: int) -> Iterator[tuple[Job, Ready]]:
    """Prepare jobs in threads.

    At most ``workers`` jobs are in the making, or made and not taken (one more while nobody takes any), so that memory
    stays flat whatever the number of jobs and whoever is slower.

    Args:
        jobs: what is to be done.
        prepare: does it; most of its time must release the interpreter lock, as decompression and tensor work do.
        workers: threads.

    Yields:
        Each job with what was prepared, in the order of the jobs.
    """
    waiting: deque[tuple[Job, Future[Ready]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        _use_one_core_each(pool, workers)
        try:
            for job in jobs:
                waiting.append((job, pool.submit(prepare, job)))
                if len(waiting) > workers:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:  # a caller that stops waits for the threads' present jobs alone
            for _, future in waiting:
                future.cancel()


def _use_one_core_each(pool: ThreadPoolExecutor, workers: int) -> None:
    """Let tensor work in a pool's threads use one core each: the cores are shared by the threads already.

    PyTorch keeps a number for each thread that has asked for it, and one that other threads begin with. Setting the
    former sets both, so that the latter is put back.
    """
    number, all_started = torch.get_num_threads(), Barrier(workers)

    def limit() -> None:
        all_started.wait()  # or one thread would do this twice
        torch.get_num_threads()  # from now on the thread has a number of its own
        torch.set_num_threads(1)

    for started in [pool.submit(limit) for _ in range(workers)]:
        started.result()
    torch.set_num_threads(number)
