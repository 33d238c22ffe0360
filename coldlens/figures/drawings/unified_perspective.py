"""Ten equivalences: left against right, their errors, and the orders of differences and steps."""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportIndexIssue=false, reportOperatorIssue=false

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coldlens.figures.drawing import TWO_COLUMNS, Drawing
from coldlens.figures.drawings.lines import power, span
from coldlens.plotting.equivalence import plot_relative_errors
from coldlens.plotting.style import styled

CASES: dict[str, dict[str, Any]] = {
    "claim": {"edgecolor": "#0072b2", "marker": "o", "s": 70, "facecolor": "none"},
    "counter": {"color": "#d55e00", "marker": "x", "s": 18},
}
CURVES = {
    ("E4", "forward"): ("ColdFD, forward", "#0072b2", "o", "-"),
    ("E4", "central"): ("ColdFD, central", "#009e73", "s", "--"),
    ("E7", "remainder"): ("a real step", "#000000", "^", "-."),
    ("E7", "against half"): ("… against half (counter)", "#d55e00", "x", ":"),
}


def draw(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draws every left side beside its right side, relative errors, and errors by step.

    Args:
        tables: `checks` and `curves`.

    Returns:
        The figure.
    """
    checks, curves = tables["checks"], tables["curves"]
    layers = sorted(set(curves.layer))
    with styled():
        figure, grid = plt.subplots(1, 3, figsize=(TWO_COLUMNS, 2.9))
        _sides(grid[0], checks)
        plot_relative_errors(checks, grid[1])
        grid[1].set_xlabel("check; 0 is drawn at 10⁻¹⁷")
        grid[1].tick_params("x", labelsize=6)
        _orders(grid[2], curves[curves.layer == layers[len(layers) // 2]])
        for panel, title in zip(
            grid, ("Left side, right side = 1", "Relative error", "Orders (E4, E7)"), strict=True
        ):
            panel.set_title(title)
            panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22))
        plt.close(figure)
    return figure


def reading(tables: Mapping[str, pd.DataFrame]) -> str:
    """Returns how many claims hold and counter-cases fail, and how clearly.

    Args:
        tables: `checks`.
    """
    checks = tables["checks"]
    claims, counters = (checks[checks.case == case] for case in CASES)
    held, failed = int(claims.holds.sum()), int((~counters.holds.astype(bool)).sum())
    compared = claims[claims.relative_error.notna()]
    gap = counters.relative_error / counters.tolerance
    first = claims[claims.slope.notna() & claims.claim.str.contains("error ∝ ε$")]
    second = claims[claims.slope.notna() & ~claims.index.isin(first.index)]
    worst = power(compared.relative_error.max())
    return (
        f"{held} of {len(claims)} claims hold, with relative errors of at most {worst}, and "
        f"{failed} of {len(counters)} counter-cases fail, with relative errors at least "
        f"{power(gap.min())} times their tolerance; errors that should be of first order have "
        f"slopes of {span(first.slope, '.3f')}, those of second order {span(second.slope, '.3f')}."
    )


def _sides(axes: Axes, checks: pd.DataFrame) -> None:
    known = checks[checks.scale.notna() & checks.relative_error.notna()]
    # ‖left − right‖² = ‖left‖² − 2⟨left, right⟩ + ‖right‖², in units of ‖right‖.
    squared = known.relative_error**2 - 1 + 2 * known.scale
    across = np.sqrt((squared - known.scale**2).clip(lower=0))
    axes.annotate("", (1, 0), (0, 0), arrowprops={"arrowstyle": "->", "color": "0.5"})
    for case, look in CASES.items():
        rows = known.case == case
        label = f"{case} ({rows.sum()})"
        axes.scatter(known.scale[rows], across[rows], label=label, clip_on=False, zorder=3, **look)
    axes.set_xlabel("along the right side")
    axes.set_ylabel("across it")
    axes.set_ylim(bottom=0)


def _orders(axes: Axes, curves: pd.DataFrame) -> None:
    double = curves[curves.dtype == "float64"] if "dtype" in curves else curves
    for (check, scheme), (label, color, marker, line) in CURVES.items():
        rows = double[(double.check == check) & (double.scheme == scheme)]
        slope = rows.slope.iloc[0]
        axes.loglog(
            rows.step,
            rows.error,
            color=color,
            linestyle=line,
            marker=marker,
            markersize=3,
            markevery=3,
            label=f"{label}: slope {slope:.2f}",
        )
    axes.set_xlabel("ε or η")
    axes.set_ylabel("error / ‖ColdJVP‖")


DRAWING = Drawing(
    "unified_perspective",
    "The unified perspective, checked",
    {
        "checks": ("check", "case", "layer", "claim", "holds", "relative_error", "tolerance"),
        "curves": ("check", "layer", "dtype", "scheme", "step", "error", "slope"),
    },
    draw,
    reading,
)
