"""Time and memory of each method against model size, examples and tokens."""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportIndexIssue=false

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from coldlens.figures.drawing import TWO_COLUMNS, Drawing
from coldlens.figures.drawings.lines import span
from coldlens.plotting.style import looks, styled

MEASURES = {
    "fit_seconds": "fit (s)",
    "input_seconds": "one new input (s)",
    "peak_mb": "peak memory (MB)",
}
AXES = {"d": ("parameters", "parameters"), "tokens": ("tokens", "tokens T"),
        "examples": ("examples", "examples N")}  # fmt: skip
"""Column and label by axis."""


def draw(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draws a row a measure and a column an axis: median and range of repetitions.

    Args:
        tables: `cost` and `growth`.

    Returns:
        The figure.
    """
    cost, growth = tables["cost"], tables["growth"]
    styles = looks(list(dict.fromkeys(cost.method)))
    styles["ColdJVP"] |= {"linewidth": 1.4, "alpha": 1.0, "marker": "p", "zorder": 2}
    with styled():
        figure, grid = plt.subplots(
            len(MEASURES), len(AXES), figsize=(TWO_COLUMNS, 5.8), sharex="col", sharey="row"
        )
        for panels, (measured, label) in zip(grid, MEASURES.items(), strict=True):
            panels[0].set_ylabel(label)
            for panel, (axis, (size, _)) in zip(panels, AXES.items(), strict=True):
                _lines(panel, cost[cost["axis"] == axis], size, measured, styles)
                known = growth[(growth["axis"] == axis) & (growth.measure == measured)]
                text = f"exponents {span(known.exponent, '.1f')}"
                panel.text(0.04, 0.97, text, fontsize=6, va="top", transform=panel.transAxes)
        for panels in grid:
            low, high = panels[0].get_ylim()
            panels[0].set_ylim(low, high * (high / low) ** 0.12)
        for panel, (_, label) in zip(grid[-1], AXES.values(), strict=True):
            panel.set_xlabel(label)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        plt.close(figure)
    return figure


def reading(tables: Mapping[str, pd.DataFrame]) -> str:
    """Returns growth exponents of time, and what COLD-FD costs beside DiffMean.

    Args:
        tables: `cost` and `growth`.
    """
    growth, cost = tables["growth"], tables["cost"]
    time = growth[growth.measure == "fit_seconds"]
    exponents = {axis: span(time[time["axis"] == axis].exponent, ".1f") for axis in AXES}
    ratios = cost.pivot_table(
        "fit_seconds", ["axis", "d", "tokens", "examples"], "method", aggfunc="median"
    )
    ratio = (ratios["ColdFD"] / ratios["DiffMean"]).median()
    kernel = (ratios["ColdKernel"] / ratios["DiffMean"]).median()
    return (
        f"The time of a fit grows with exponents of {exponents['d']} in the parameters, "
        f"{exponents['tokens']} in tokens and {exponents['examples']} in examples, by method; in "
        f"the median case fitting COLD-Kernel takes {kernel:.1f} times as long as DiffMean, "
        f"COLD-FD with its choice of ε {ratio:.1f} times."
    )


def _lines(axes: Axes, rows: pd.DataFrame, size: str, measured: str, styles: Mapping) -> None:
    for method, look in styles.items():
        found = rows[rows.method == method].groupby(size)[measured]
        middle = found.median()
        ends = [middle - found.min(), found.max() - middle]
        axes.errorbar(
            middle.index, middle, yerr=ends, elinewidth=0.7, capsize=1.5, label=method, **look
        )
    axes.set(xscale="log", yscale="log")
    sizes = sorted(set(rows[size]))
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([_short(value) for value in sizes])


def _short(value: int) -> str:
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{float(f'{value / unit:.2g}'):g} {name}"
    return str(value)


DRAWING = Drawing(
    "cost",
    "What each method costs",
    {
        "cost": ("axis", "method", "d", "tokens", "examples", "parameters", *MEASURES),
        "growth": ("axis", "method", "measure", "exponent", "error"),
    },
    draw,
    reading,
)
