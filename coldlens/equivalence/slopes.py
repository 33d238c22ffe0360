"""The exponent of a truncation error, with a tolerance that follows from the terms left out."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from coldlens.equivalence.rows import NAN

IMPURITY = 0.1
"""Largest share of an error, at a fitted step, that is not its leading term."""
FEWEST = 3


@dataclass(frozen=True)
class Fit:
    """A power law fitted to an error.

    Attributes:
        slope: The exponent; nan where there is no range to fit it on.
        tolerance: How far it may be from that of the leading term.
        chosen: Which steps were fitted.
    """

    slope: float
    tolerance: float
    chosen: Bool[Tensor, " step"]


def fit_slope(
    steps: Float[Tensor, " step"],
    errors: Float[Tensor, " step"],
    next_term: Float[Tensor, " step"],
    rounding: Float[Tensor, " step"],
) -> Fit:
    """Fits log error = slope · log step + constant over the truncation range.

    The range is the longest run of steps at which the terms other than the leading one make up at
    most a tenth of the error. There log error is off by at most −log(1 − impurity), and the
    least-squares slope Σ w log error by at most Σ |w| · −log(1 − impurity): the tolerance. It is
    rounding that must end the range at small steps: an error that levels off before tends to
    something else than zero, and gets no slope.

    Args:
        steps: The steps, descending.
        errors: The error at each of them.
        next_term: The share of it that comes from the next term of the series, estimated without
            use of the exponent.
        rounding: The share that comes from rounding.

    Returns:
        The fit.
    """
    impurity = next_term + rounding
    chosen = _longest_run(impurity <= IMPURITY)
    after = int(chosen.nonzero().max()) + 1 if chosen.any() else len(steps)
    levels_off = after == len(steps) or rounding[after] < impurity[after] / 2
    if chosen.sum() < FEWEST or levels_off:
        return Fit(NAN, NAN, torch.zeros_like(chosen))
    offsets = steps[chosen].log() - steps[chosen].log().mean()
    weights = offsets / offsets.square().sum()
    slope = (weights * errors[chosen].log()).sum()
    tolerance = (weights.abs() * -torch.log1p(-impurity[chosen])).sum()
    return Fit(slope.item(), tolerance.item(), chosen)


def _longest_run(wanted: Bool[Tensor, " step"]) -> Bool[Tensor, " step"]:
    best, start = (0, 0), 0
    for place, value in enumerate([*wanted.tolist(), False]):
        if not value:
            best = max(best, (place - start, -start))
            start = place + 1
    length, begin = best[0], -best[1]
    places = torch.arange(len(wanted), device=wanted.device)
    return (places >= begin) & (places < begin + length)
