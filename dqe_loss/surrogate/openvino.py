"""The surrogate in OpenVINO: the same stars in less time on a CPU, for rating alone, which needs no gradient.

OpenVINO and ONNX Runtime were as fast as each other here; the former needs one library instead of three.
"""

import warnings
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dqe_loss.core.boxes import Box
from dqe_loss.extras import needs_extra
from dqe_loss.surrogate.network import Surrogate
from dqe_loss.surrogate.refiner import RefinedMask

with needs_extra("engine"):
    import openvino

_TOLERANCE = 1e-3  # stars; what is measured is 1e-5 and less


class OpenVINORater:
    """A `dqe_loss.surrogate.rater.Rater` that runs a surrogate as a whole, whatever its head and its parts, on the CPU.

    Converting takes seconds, once; a rater is for one thread at a time.

    Args:
        surrogate: what to convert; it is left as it is, and not needed any more.
        threads: how many to run on; as many as torch uses if None.

    Raises:
        ValueError: the surrogate is not on the CPU in float32, or has an operation that OpenVINO lacks.
    """

    def __init__(self, surrogate: Surrogate, threads: int | None = None) -> None:
        if surrogate.device.type != "cpu" or surrogate.dtype != torch.float32:
            raise ValueError(
                "the engine openvino runs a float32 surrogate on the CPU, "
                f"got {surrogate.dtype} on {surrogate.device}; leave --engine or --device out"
            )
        self.config = surrogate.config
        self.device = torch.device("cpu")
        channels = len(self.config.modalities) + self.config.mask_channels
        # Two planes: a single one would be traced as if there were never more.
        example = torch.rand(2, channels, *self.config.field_of_view, generator=torch.Generator().manual_seed(0))
        self._threads = threads or torch.get_num_threads()
        if self.config.refiner is None:
            self._rate, self._refine = self._compile(surrogate, (example,)), None
        else:
            self._rate = self._compile(_Capped(surrogate), (example, torch.ones(len(example))))
            self._refine = self._compile(_Refining(surrogate), (example,))
        self._check(surrogate, example)

    def __call__(self, planes: Tensor, *, ceiling: Tensor | None = None, inside: Box | None = None) -> Tensor:
        """Rate planes ``(N, C, H, W)`` on the CPU, as `dqe_loss.Surrogate` does: ``(N,)`` stars, without gradient."""
        inputs = [planes]
        if self.config.refiner is not None:
            inputs.append(torch.ones(len(planes)) if ceiling is None else ceiling)
        (stars,) = _run(self._rate, *inputs)
        return stars

    def refine(self, planes: Tensor) -> RefinedMask | None:
        """What the refiner would have drawn, as `Surrogate.refine` says it."""
        return None if self._refine is None else RefinedMask(*_run(self._refine, planes))

    def _compile(self, module: nn.Module, example: tuple[Tensor, ...]) -> Any:
        """Convert a module whose inputs ``(N, ...)`` may be of any N."""
        shapes = [openvino.PartialShape([-1, *one.shape[1:]]) for one in example]
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the tracer, whose branches all depend on the configuration alone
            try:
                model = openvino.convert_model(module, example_input=example, input=shapes)
            except Exception as error:  # the converter raises its own types, and those of torch's tracer
                raise ValueError(
                    f"OpenVINO cannot convert this {self.config.architecture} "
                    f"({' '.join(str(error).split())[:300]}); rate with --engine torch"
                ) from error
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": self._threads,
            "INFERENCE_PRECISION_HINT": "f32",  # its default is bfloat16 where the processor has it
        }
        return _core().compile_model(model, "CPU", options)

    def _check(self, surrogate: Surrogate, example: Tensor) -> None:
        """One look at what came out, for a batch that is not the traced one: a wrong conversion would be silent."""
        planes = torch.cat((example, example.flip(0, -1)))[:3]
        with torch.no_grad():
            difference = (self(planes) - surrogate(planes)).abs().max().item()
        if not difference < _TOLERANCE:
            raise ValueError(f"OpenVINO's stars differ by {difference:.2g} from PyTorch's; rate with --engine torch")


@cache
def _core() -> Any:
    """The one OpenVINO core of this process, never freed.

    Each core gives the thread a stack to handle signals on, and puts back the former one when it is freed. Of two cores
    freed in the order of their making, the second puts back the freed stack of the first; the next SIGTERM or SIGCHLD
    that Python handles is then a segmentation fault.
    """
    return openvino.Core()


class _Capped(nn.Module):
    """A surrogate that is always given a ceiling: a traced module has no optional input."""

    def __init__(self, surrogate: Surrogate) -> None:
        super().__init__()
        self.surrogate = surrogate

    def forward(self, planes: Tensor, ceiling: Tensor) -> Tensor:
        stars: Tensor = self.surrogate(planes, ceiling=ceiling)
        return stars


class _Refining(nn.Module):
    """A surrogate's refiner alone."""

    def __init__(self, surrogate: Surrogate) -> None:
        super().__init__()
        self.surrogate = surrogate

    def forward(self, planes: Tensor) -> tuple[Tensor, ...]:
        refined = self.surrogate.refine(planes)
        assert refined is not None  # it is traced only where there is a refiner
        return tuple(refined)


def _run(compiled: Any, *inputs: Tensor) -> list[Tensor]:
    """All outputs of a compiled model."""
    results = compiled([one.float().contiguous().numpy() for one in inputs])
    arrays: list[np.ndarray] = [results[i] for i in range(len(compiled.outputs))]
    return [torch.from_numpy(array.copy()) for array in arrays]
