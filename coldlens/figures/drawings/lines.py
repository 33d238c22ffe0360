"""Parts that several figures share: lines with ranges, matrices of changes, numbers in words."""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
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


def changes(
    axes: Axes, matrix: pd.DataFrame, limit: float, colors: str = "RdBu", form: str = "+z.2f"
) -> AxesImage:
    """Draws a matrix of changes with its numbers.

    Args:
        axes: Where to draw.
        matrix: The changes; those that are not a number stay empty.
        limit: The change, up or down, at which the colours end.
        colors: Name of the colour map; by default a rise is blue.
        form: How a number is written.

    Returns:
        The image, for a colour bar.
    """
    image = axes.imshow(matrix, cmap=colors, vmin=-limit, vmax=limit, aspect="auto")
    for (row, column), value in np.ndenumerate(matrix.to_numpy(dtype=float)):
        shade = "white" if abs(value) > 0.6 * limit else "black"
        text = "–" if np.isnan(value) else f"{value:{form}}"
        axes.text(column, row, text, ha="center", va="center", color=shade, fontsize=6)
    axes.set_xticks(range(matrix.shape[1]), list(matrix.columns))
    axes.set_yticks(range(matrix.shape[0]), list(matrix.index))
    axes.grid(visible=False)
    return image


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
