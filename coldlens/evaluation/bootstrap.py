"""Percentile bootstrap over questions."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float

RESAMPLES = 2000
LEVEL = 0.95


def interval(
    values: Float[np.ndarray, " question"], seed: int = 0, level: float = LEVEL
) -> tuple[float, float]:
    """Returns a percentile bootstrap interval of the mean.

    Source: Efron 1979; questions are drawn with replacement, 2000 times.

    Args:
        values: A value a question; nan ones are left out.
        seed: Seed of the draws.
        level: The coverage aimed at.

    Returns:
        Lower and upper end; nan where there is no value.
    """
    return interval_of_mean([values], seed, level)


def interval_of_mean(
    groups: Sequence[Float[np.ndarray, " _"]], seed: int = 0, level: float = LEVEL
) -> tuple[float, float]:
    """Returns the interval of the mean of several means, each over questions of its own.

    Args:
        groups: The values of each group, whose questions are drawn apart from the others'.
        seed: Seed of the draws.
        level: The coverage aimed at.

    Returns:
        Lower and upper end; nan where a group has no value.
    """
    means = np.zeros(RESAMPLES)
    for place, values in enumerate(groups):
        known = values[~np.isnan(values)].astype(np.float64)
        if len(known) == 0:
            return float("nan"), float("nan")
        means += _draws(len(known), seed + place) @ known / len(known)
    low, high = np.quantile(means / len(groups), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@lru_cache(maxsize=16)
def _draws(count: int, seed: int) -> Float[np.ndarray, "resample question"]:
    """Returns how often each question is drawn, in each resample."""
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    return drawn.astype(np.float64)
