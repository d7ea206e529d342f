"""Options that are numbers: whole or finite, and not too small."""

import math
from numbers import Integral, Real


def check_number(
    option: str, value: object, *, whole: bool = False, least: float = -math.inf, above: float = -math.inf
) -> None:
    """Check an option that is a number.

    Args:
        option: its name.
        value: what was given.
        whole: whether it must be a whole number; else any finite one will do.
        least: the smallest that it may be.
        above: what it must be larger than.

    Raises:
        ValueError: if it is something else, NaN, infinite or too small.
    """
    if (
        isinstance(value, Integral if whole else Real)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and least <= value  # type: ignore[operator]
        and above < value  # type: ignore[operator]
    ):
        return
    bounds = (f" {sign} {bound:g}" for sign, bound in ((">=", least), (">", above)) if math.isfinite(bound))
    raise ValueError(
        f"{option} must be a {'whole' if whole else 'finite'} number{''.join(bounds)}, got {value!r}"
        + ("" if isinstance(value, Real) else f", a {type(value).__name__}")
    )
