"""Percentile bootstrap over questions."""

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
    known = values[~np.isnan(values)].astype(np.float64)
    if len(known) == 0:
        return float("nan"), float("nan")
    draws = np.random.default_rng(seed).multinomial(
        len(known), np.full(len(known), 1 / len(known)), size=RESAMPLES
    )
    means = draws @ known / len(known)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
