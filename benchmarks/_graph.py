"""A call captured in a CUDA graph, for the benchmarks that measure one."""

from collections.abc import Callable

import torch

WARM_UP = 3
"""Calls before the capture, on a stream of their own: kernels are chosen and memory is taken in them."""


def captured(run: Callable[[], object], before_capture: Callable[[], object] = lambda: None) -> Callable[[], object]:
    """Capture a call in a CUDA graph.

    Args:
        run: what to capture; its tensors keep their places in memory.
        before_capture: called between warm-up and capture, such as an optimizer's ``zero_grad``.

    Returns:
        A call that replays the graph.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    before_capture()
    with torch.cuda.graph(graph):
        run()

    def replay() -> object:
        graph.replay()
        return run  # the graph works on the memory of what ``run`` holds, and does not keep it

    return replay
