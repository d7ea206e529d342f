"""The surrogate: a frozen 2D network that rates planes, with a refiner beside it."""

import copy
from collections import OrderedDict

import torch
from monai.networks import nets
from torch import Tensor, nn

from dqe_loss.core.boxes import Box
from dqe_loss.core.planes import split_planes
from dqe_loss.surrogate.agreement import agreement, gate_of
from dqe_loss.surrogate.config import NO_NETWORK, SurrogateConfig
from dqe_loss.surrogate.frozen import FrozenTwin, may_run_by_hand
from dqe_loss.surrogate.ordinal import CumulativeLink, distribution_of_logits, stars_of_logits
from dqe_loss.surrogate.refiner import RefinedMask, Refiner, RefinerConfig, refine_mask

# MONAI's classifiers call their numbers of channels by these names.
_ARGUMENTS = (("in_channels", "out_channels"), ("in_channels", "num_classes"), ("n_input_channels", "num_classes"))


class Surrogate(nn.Module):
    """A network that rates planes, frozen for good; with a refiner beside it if the configuration says so.

    Its parameters need no gradient, and it stays in evaluation mode whatever ``train()`` says, so that neither an
    optimizer nor batch statistics can change it. It passes gradients on to its input.

    Args:
        config: how the network is built and fed.
        refiner: the refiner, if the configuration has one. It is never made here: a refiner that knows nothing
            would lower stars at random, and nothing would show it.

    Raises:
        ValueError: if the architecture cannot be built as a 2D classifier, or only one of configuration and ``refiner``
            has a refiner.
    """

    def __init__(self, config: SurrogateConfig | None = None, refiner: Refiner | None = None) -> None:
        super().__init__()
        self.config = config or SurrogateConfig()
        if (refiner is None) != (self.config.refiner is None):
            raise ValueError(
                f"the configuration has {'no' if self.config.refiner is None else 'a'} refiner, and "
                f"{'none' if refiner is None else 'one'} was given; load_surrogate loads both, assemble builds both "
                "from weights"
            )
        self.network = build_network(self.config)
        self.refiner = refiner
        self._twin = FrozenTwin()
        self.requires_grad_(False)
        self.eval()
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack this form

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights, and of the planes that reach them."""
        return next(self.network.parameters()).dtype

    def train(self, mode: bool = True) -> "Surrogate":
        """Stay in evaluation mode: batch statistics must not move (contract C8)."""
        return super().train(False)

    def forward(
        self,
        planes: Tensor,
        refined: RefinedMask | None = None,
        ceiling: Tensor | None = None,
        inside: Box | None = None,
    ) -> Tensor:
        """Rate planes.

        The gradient is that of the stars, with the refined mask held fixed (contract C14). To be optimized
        against, it wants a guard: see `dqe_loss.losses.guards`.

        Args:
            planes: ``(N, C, H, W)``: scaled modalities in `config.modalities`' order, then the encoded mask, padded
                to the field of view.
            refined: what `refine` says of these planes, where it was asked already.
            ceiling: ``(N,)`` in [0, 1], largest share of its stars that each plane may keep: what the whole mask is
                worth (`dqe_loss.surrogate.survey`). The refined mask of the plane can only lower it.
            inside: rows and columns outside of which nobody asks for the planes' gradient, so that it need not be
                made there; None for all.

        Returns:
            ``(N,)`` stars. Without a refiner they are unbounded: the published network can leave [1, 6], most of
            all under attack. With one they are within the scale, for what lies outside of it is no judgment.

        Raises:
            ValueError: there is a ceiling, and no refiner whose it could be.
        """
        planes = planes.to(self.dtype)
        stars = stars_of_output(self.config, self._run(planes, inside))
        if self.config.refiner is None:
            if ceiling is not None:
                raise ValueError("a ceiling is for stars that a refiner lowers; this surrogate has none")
            return stars
        share = self._gate(self.config.refiner, planes, refined)
        if ceiling is not None:
            share = torch.minimum(share, ceiling.to(share))
        low, high = self.config.stars
        return low + (stars.clamp(low, high) - low) * share

    def refine(self, planes: Tensor) -> RefinedMask | None:
        """What the refiner would have drawn on planes ``(N, C, H, W)``, without gradient; None without one."""
        if self.refiner is None or self.config.refiner is None:
            return None
        return refine_mask(self.refiner, self.config.refiner, *split_planes(self.config, planes.to(self.dtype)))

    def distribution(self, planes: Tensor) -> Tensor:
        """Probability of each whole number of stars; the spread says how sure the network is.

        Where a refiner leaves a mask a share of its stars, that share of the distribution stays where it is and
        the rest moves to the lowest rating, so that the mean is what `forward` gives.

        Args:
            planes: as in `forward`.

        Returns:
            ``(N, 6)``, for 1 to 6 stars.

        Raises:
            ValueError: if the surrogate has no ordinal head.
        """
        if self.config.head != "ordinal":
            raise ValueError(
                "a surrogate with a regression head gives stars and no distribution; train one with --head ordinal"
            )
        planes = planes.to(self.dtype)
        distribution = distribution_of_logits(self._run(planes))
        if self.config.refiner is None:
            return distribution
        share = self._gate(self.config.refiner, planes, None)[:, None]
        lowest = torch.zeros_like(distribution)
        lowest[:, 0] = 1
        return share * distribution + (1 - share) * lowest

    def _gate(self, config: RefinerConfig, planes: Tensor, refined: RefinedMask | None) -> Tensor:
        formed = self.refine(planes) if refined is None else refined
        assert formed is not None  # there is a refiner where there is a configuration of one
        agreed = agreement(split_planes(self.config, planes)[1], formed.regions)
        return gate_of(agreed, config.full_marks, config.exponent)

    def _run(self, planes: Tensor, inside: Box | None = None) -> Tensor:
        planes = planes.contiguous(memory_format=torch.channels_last)
        fast = self._twin.of(self.network) if may_run_by_hand(planes) else None
        output: Tensor = self.network(planes) if fast is None else fast(planes, inside)
        return output


def surrogate_on(surrogate: Surrogate, device: torch.device | str, dtype: torch.dtype | None = None) -> Surrogate:
    """A surrogate where it is needed: itself if it is there, else a copy.

    Losses and metrics may share a surrogate, so that none of them moves or casts it: each asks here for its own.

    Args:
        surrogate: what others may hold, too.
        device: where it is needed.
        dtype: in which precision, its own if None.
    """
    device, dtype = torch.empty(0, device=device).device, dtype or surrogate.dtype  # "cuda" is some "cuda:0"
    if (surrogate.device, surrogate.dtype) == (device, dtype):
        return surrogate
    return copy.deepcopy(surrogate).to(device=device, dtype=dtype)


class MostStars(nn.Module):
    """Stands where nobody has rated yet: every plane gets the most stars.

    Args:
        stars: the best of the scale.
    """

    def __init__(self, stars: float) -> None:
        super().__init__()
        self.stars = nn.Parameter(torch.tensor(float(stars)))

    def forward(self, planes: Tensor) -> Tensor:
        """Stars ``(N, 1)`` of planes ``(N, C, H, W)``."""
        return self.stars.expand(len(planes), 1)


def build_network(config: SurrogateConfig) -> nn.Module:
    """Build a surrogate's network, not frozen, with random weights.

    Raises:
        ValueError: if the architecture cannot be built as a 2D classifier.
    """
    if config.architecture == NO_NETWORK:
        return MostStars(config.stars[1])
    channels = len(config.modalities) + config.mask_channels
    architecture = getattr(nets, config.architecture)
    for inputs, outputs in _ARGUMENTS:
        try:
            backbone: nn.Module = architecture(spatial_dims=2, **{inputs: channels, outputs: 1})
        except TypeError:
            continue
        if config.head == "regression":
            return backbone
        low, high = config.stars
        return nn.Sequential(OrderedDict(backbone=backbone, link=CumulativeLink(round(high - low), low + 0.5)))
    raise ValueError(
        f"{config.architecture!r} cannot be built as a 2D classifier from spatial_dims and its numbers of input and "
        "output channels; expected one of MONAI's such as 'DenseNet121', 'resnet18' or 'SEResNet50'"
    )


def stars_of_output(config: SurrogateConfig, output: Tensor) -> Tensor:
    """Stars ``(N,)`` of what the network puts out: ``(N, 1)``, or cumulative logits ``(N, 5)``."""
    return output.squeeze(1) if config.head == "regression" else stars_of_logits(output, config.stars[0])
