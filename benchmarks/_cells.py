"""Run the cells of an experiment in worker processes and keep every finished one in a JSON file.

The surrogate hardly gains from a second thread (0.42 s a step on two cores, 0.46 s on one: it is many small kernels,
bound by memory), so that single-threaded workers with a cell each finish an experiment in half the time.
"""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import torch
from _report import machine, write_json
from tqdm import tqdm

from dqe_loss import load_surrogate
from dqe_loss.resume import check_same, read_record
from dqe_loss.surrogate.checkpoint import fingerprint

CellT = TypeVar("CellT")
Tick = Callable[[int], None]
Result = dict[str, Any]

_ticks: "multiprocessing.Queue[int] | None" = None


def with_checkpoint(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings with their checkpoint's name and fingerprint, for results of a file that was written anew are stale."""
    checkpoint = settings["checkpoint"]
    return settings | {
        "checkpoint": Path(checkpoint).name,
        "checkpoint_sha256": fingerprint(load_surrogate(checkpoint)),
    }


last_surrogate = lru_cache(maxsize=1)(load_surrogate)
"""Loads a checkpoint; the last one is kept from cell to cell."""


def read_results(path: Path, settings: dict[str, Any]) -> dict[str, Result]:
    """Finished cells of an earlier run of the same experiment.

    Args:
        path: JSON file that `run_cells` writes; need not exist yet.
        settings: what every cell depends on, JSON-ready.

    Returns:
        Name to result.

    Raises:
        ValueError: if the file was written with other settings: its cells must not be mixed with new ones.
    """
    if not path.exists():
        return {}
    cure = "give another --out, or delete it to start over"
    stored = read_record(path, cure, ("settings", "cells"))
    before = stored["settings"]
    check_same(path, before, dict.fromkeys(before) | settings, "results", cure)  # one that is gone changes them, too
    cells: dict[str, Result] = stored["cells"]
    return cells


def run_cells(
    function: Callable[[CellT, Tick], Result],
    cells: dict[str, CellT],
    *,
    path: Path,
    settings: dict[str, Any],
    workers: int,
    steps: Callable[[CellT], int] = lambda _: 1,
) -> dict[str, Result]:
    """Run the cells that ``path`` lacks, each in one of the workers.

    Args:
        function: runs one cell and calls its second argument with the number of steps done; importable by name.
        cells: name to cell, in the order in which they are started.
        path: JSON file of results, written after each cell.
        settings: what every cell depends on.
        workers: number of processes; the machine's cores are shared out among them.
        steps: how many steps a cell takes, for the progress bar.

    Returns:
        Results of all cells asked for, and of those that the file held already.
    """
    results = read_results(path, settings)
    missing = {name: cell for name, cell in cells.items() if name not in results}
    if not missing:
        return results
    context = multiprocessing.get_context("spawn")
    ticks: multiprocessing.Queue[int] = context.Queue()
    threads = max(1, (os.cpu_count() or 1) // workers)
    total = sum(map(steps, missing.values()))
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(ticks, threads))
    with tqdm(total=total, unit="step", smoothing=0.02, mininterval=2) as bar:
        try:
            running = {pool.submit(_work, function, cell): name for name, cell in missing.items()}
            while running:
                done, _ = wait(running, timeout=1, return_when=FIRST_COMPLETED)
                while not ticks.empty():
                    bar.update(ticks.get())
                for future in done:
                    results[running.pop(future)] = future.result()
                    write_json(path, {"settings": settings, "machine": machine(), "cells": results})
                    bar.set_postfix_str(f"{len(missing) - len(running)}/{len(missing)} cells")
        finally:
            pool.shutdown(cancel_futures=True)
    return results


def _start_worker(ticks: "multiprocessing.Queue[int]", threads: int) -> None:
    global _ticks
    _ticks = ticks
    torch.set_num_threads(threads)


def _work(function: Callable[[CellT, Tick], Result], cell: CellT) -> Result:
    queue = _ticks
    return function(cell, lambda n: queue.put(n) if queue is not None else None)
