"""Parts that several figures share: lines with the range of what was averaged, numbers in words."""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator


def line_with_range(
    axes: Axes, rows: pd.DataFrame, x: str, y: str, shift: float = 0.0, **looks: Any
) -> None:
    """Draws the mean of y at each x, and bars from the least to the greatest.

    Args:
        axes: Where to draw.
        rows: The measurements.
        x: Column of the horizontal axis.
        y: Column that is averaged.
        shift: Moves the line to the right, so that bars do not hide each other.
        **looks: Keyword arguments of `Axes.errorbar`.
    """
    found = rows.groupby(x)[y].agg(["mean", "min", "max"])
    ends = [found["mean"] - found["min"], found["max"] - found["mean"]]
    axes.errorbar(
        found.index + shift, found["mean"], yerr=ends, elinewidth=0.7, capsize=1.5, **looks
    )


def layer_axis(axes: Axes, layers: Iterable[int]) -> None:
    """Prepares a horizontal axis of layers.

    Args:
        axes: The axes.
        layers: The layers.
    """
    known = list(layers)
    axes.set_xlim(min(known) - 0.4, max(known) + 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("layer (0-based block)")


def power(value: float) -> str:
    """Writes a number with one digit and a power of ten.

    Args:
        value: The number.

    Returns:
        "3 × 10⁻⁵", "10⁻⁶", or "0.3" and "3" where no power is needed.
    """
    digit, _, exponent = f"{value:.0e}".partition("e")
    if not exponent or -2 < int(exponent) < 1:
        return f"{value:.1g}"
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{raised}" if digit == "1" else f"{digit} × 10{raised}"


def span(values: Iterable[float], form: str = ".2f") -> str:
    """Writes the range of some numbers.

    Args:
        values: The numbers; those that are not a number are left out.
        form: How one is written.

    Returns:
        "0.10 to 0.30", or one number where both ends are written alike.
    """
    known = pd.Series(list(values), dtype=float).dropna()
    if known.empty:
        return "–"
    low, high = (f"{end:z{form}}" for end in (known.min(), known.max()))
    return low if low == high else f"{low} to {high}"
