"""Figures of a verification of equivalences."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coldlens.plotting.style import PRECISIONS, styled

PAPER_STEP = 1e-6
"""ε of the configuration of Sharma and Trivedi 2026."""
_REMAINDERS = {
    "− η ColdJVP": ("remainder", "#000000"),
    "− ½ η ColdJVP (counter-case)": ("against half", "#999999"),
}
_EXACT = 1e-17
"""Where an error of zero is drawn."""


def plot_difference_errors(curves: pd.DataFrame, layer: int, ax: Axes | None = None) -> Axes:
    """Draws the error of finite differences against ε, a line a precision and scheme.

    The fitted steps are drawn thick, with their slope in the legend.

    Args:
        curves: `Equivalences.curves`.
        layer: One of its layers.
        ax: Where to draw; a new figure by default.

    Returns:
        The Axes.
    """
    axes = plt.subplots()[1] if ax is None else ax
    for dtype, look in PRECISIONS.items():
        for scheme, line in (("forward", "-"), ("central", "--")):
            rows = curves.query(
                "check == 'E4' and layer == @layer and dtype == @dtype and scheme == @scheme"
            )
            _curve(axes, rows, f"{dtype} {scheme}", look["color"], line)
    axes.axvline(PAPER_STEP, color="0.5", linewidth=0.8, linestyle=":")
    axes.annotate(
        "the paper's ε", (PAPER_STEP, 1.0), xycoords=("data", "axes fraction"), fontsize=6
    )
    axes.set_xlabel("ε")
    axes.set_ylabel("‖ColdFD − ColdJVP‖ / ‖ColdJVP‖")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=3)
    return axes


def plot_remainders(curves: pd.DataFrame, layer: int, ax: Axes | None = None) -> Axes:
    """Draws what is left of a real step without the first-order displacement, against η.

    Args:
        curves: `Equivalences.curves`.
        layer: One of its layers.
        ax: Where to draw; a new figure by default.

    Returns:
        The Axes.
    """
    axes = plt.subplots()[1] if ax is None else ax
    for label, (scheme, color) in _REMAINDERS.items():  # noqa: B007 - the query reads it
        rows = curves.query("check == 'E7' and layer == @layer and scheme == @scheme")
        _curve(axes, rows, label, color, "-")
    axes.set_xlabel("η")
    axes.set_ylabel("‖Z(θ − ηg) − Z(θ) − …‖ / ‖ColdJVP‖")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    return axes


def plot_relative_errors(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draws the relative error of every claim and counter-case, and the tolerances.

    Args:
        table: `Equivalences.table`.
        ax: Where to draw; a new figure by default.

    Returns:
        The Axes.
    """
    axes = plt.subplots()[1] if ax is None else ax
    known = table.query("relative_error.notna()")
    checks = sorted(set(known.check), key=lambda check: int(check[1:]))
    depth = known.layer.max()
    for case, color, marker in (("claim", "#0072b2", "o"), ("counter", "#d55e00", "x")):
        rows = known.query("case == @case")
        shift = (rows.layer.astype(float).fillna(depth / 2) / max(depth, 1) - 0.5) * 0.6
        places = rows.check.map(checks.index) + shift
        errors = rows.relative_error.clip(lower=_EXACT)
        axes.scatter(places, errors, s=18, color=color, marker=marker, label=case)
        if case == "claim":
            axes.scatter(places, rows.tolerance, s=30, color="0.4", marker="_", label="tolerance")
    axes.set_yscale("log")
    axes.set_xticks(range(len(checks)), checks)
    axes.set_xlabel("check; within it, layers from left to right")
    axes.set_ylabel("‖left − right‖ / ‖right‖")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=3)
    return axes


def equivalence_figure(table: pd.DataFrame, curves: pd.DataFrame, layer: int, title: str) -> Figure:
    """Draws the three panels.

    Args:
        table: `Equivalences.table`.
        curves: `Equivalences.curves`.
        layer: The layer of the curves.
        title: Title of the figure.

    Returns:
        The figure, closed for pyplot, so that no notebook shows it twice.
    """
    with styled():
        figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4.6))
        plot_difference_errors(curves, layer, left)
        plot_remainders(curves, layer, middle)
        plot_relative_errors(table, right)
        left.set_title(f"Finite differences (E4), layer {layer}")
        middle.set_title(f"A real step (E7), layer {layer}")
        slopes = sorted(set(table.check[table.slope.notna()]))
        right.set_title(f"Both sides of the others ({', '.join(slopes)}: slopes, on the left)")
        figure.suptitle(title, fontsize=10)
        plt.close(figure)
    return figure


def _curve(axes: Axes, rows: pd.DataFrame, label: str, color: str, line: str) -> None:
    fitted = rows.query("fitted")
    if not fitted.empty:
        label += f", slope {fitted.slope.iloc[0]:.3f}"
        axes.loglog(fitted.step, fitted.error, color=color, linewidth=4, alpha=0.3)
    axes.loglog(rows.step, rows.error, color=color, linestyle=line, label=label)
