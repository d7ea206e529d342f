"""Do the first half of each job in threads, a few jobs ahead of who takes them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
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
    # Each thread works alone: the cores are shared by the threads already.
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
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
