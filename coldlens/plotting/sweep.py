"""Figures of a sweep."""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportGeneralTypeIssues=false, reportIndexIssue=false

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coldlens.plotting.style import looks, styled

BESIDE = ["mean", "low", "high", "average_rank", "capability_change"]
"""Columns of the main table that are no behaviour."""


def plot_scores(table: pd.DataFrame, ax: Axes | None = None, label: str = "score") -> Axes:
    """Draws the mean score of each method with its interval, the unsteered model as a line.

    Args:
        table: `SweepResult.main_table()`.
        ax: Where to draw; a new figure by default.
        label: What the score is.

    Returns:
        The Axes.
    """
    axes = plt.subplots()[1] if ax is None else ax
    places = np.arange(len(table))[::-1]
    styles = looks([method for _, method in dict.fromkeys(table.index)])
    for place, (key, row) in zip(places, table.iterrows(), strict=True):
        method = key[1]
        axes.hlines(place, row.low, row.high, color="0.6", linewidth=1)
        axes.plot(row["mean"], place, "o", color=styles[method]["color"], markersize=5)
        if method == "base":
            axes.axvline(row["mean"], color="0.4", linestyle=":", zorder=0)
    axes.set_yticks(places, _names(table))
    axes.set_xlabel(f"{label}: mean over behaviours, 95 % interval")
    return axes


def plot_main_table(table: pd.DataFrame, ax: Axes | None = None, label: str = "score") -> Axes:
    """Draws methods by behaviours as a heat map with its numbers.

    Args:
        table: `SweepResult.main_table()`.
        ax: Where to draw; a new figure by default.
        label: What the score is.

    Returns:
        The Axes.
    """
    values = table.drop(columns=BESIDE)
    values = values.set_axis(pd.Index(_names(table)))
    return _heat_map(values, ax, label)


def plot_grid(grid: pd.DataFrame, ax: Axes | None = None, label: str = "score") -> Axes:
    """Draws layers by etas as a heat map with its numbers.

    Args:
        grid: `SweepResult.grid(method)`.
        ax: Where to draw; a new figure by default.
        label: What the score is.

    Returns:
        The Axes.
    """
    shown = grid.set_axis([f"{step:.3g}" for step in grid.columns], axis=1)
    axes = _heat_map(shown, ax, label)
    axes.set_xlabel("relative eta" if grid.columns.name == "relative" else "eta")
    axes.set_ylabel("layer (0-based block)")
    return axes


def plot_sample_efficiency(
    curves: pd.DataFrame, ax: Axes | None = None, label: str = "score"
) -> Axes:
    """Draws the score by the number of examples, with the range over seeds.

    Args:
        curves: `SweepResult.sample_efficiency()`.
        ax: Where to draw; a new figure by default.
        label: What the score is.

    Returns:
        The Axes.
    """
    axes = plt.subplots()[1] if ax is None else ax
    several = len(set(curves[curves.method != "base"].setting)) > 1
    for row in curves[curves.method == "base"].itertuples():
        axes.axhline(row.mean, color="0.4", linestyle=":", label="base")
    rest = curves[curves.method != "base"]
    styles = looks(list(dict.fromkeys(rest.method)))
    for (setting, method), rows in rest.groupby(["setting", "method"], sort=False):
        name = f"{method}, {setting}" if several else method
        axes.plot(rows["size"], rows["mean"], label=name, **styles[method])
        axes.fill_between(
            rows["size"], rows.lowest, rows.highest, color=styles[method]["color"], alpha=0.12
        )
    axes.set_xscale("log")
    axes.set_xticks(sorted(rest["size"].unique()), sorted(rest["size"].unique()))
    axes.minorticks_off()
    axes.set_xlabel("examples N")
    axes.set_ylabel(f"{label}: mean over behaviours, band: seeds")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return axes


def sweep_figure(
    table: pd.DataFrame,
    curves: pd.DataFrame | None,
    grid: pd.DataFrame | None,
    method: str,
    label: str,
    model: str,
) -> Figure:
    """Draws what there is, side by side.

    Args:
        table: `SweepResult.main_table()`.
        curves: `SweepResult.sample_efficiency()`, or None.
        grid: `SweepResult.grid(method)`, or None.
        method: The method of the grid.
        label: What the score is.
        model: Name of the model.

    Returns:
        The figure, closed for pyplot, so that no notebook shows it twice.
    """
    with styled():
        panels = 2 + (grid is not None) + (curves is not None)
        height = max(4.0, 0.32 * len(table) + 1.5)
        figure, axes = plt.subplots(1, panels, figsize=(6.4 * panels, height), squeeze=False)
        left = list(axes[0])
        plot_scores(table, left[0], label).set_title("Test split, chosen on validation")
        plot_main_table(table, left[1], label).set_title("By behaviour")
        if grid is not None:
            plot_grid(grid, left[2], label).set_title(f"{method}, validation split")
        if curves is not None:
            plot_sample_efficiency(curves, left[-1], label).set_title("Sample efficiency")
        figure.suptitle(f"Sweep on {model}", fontsize=10)
        plt.close(figure)
    return figure


def _names(table: pd.DataFrame) -> list[str]:
    several = len({setting for setting, method in table.index if method != "base"}) > 1
    return [
        f"{method}, {setting}" if several and method != "base" else method
        for setting, method in table.index
    ]


def _heat_map(values: pd.DataFrame, ax: Axes | None, label: str) -> Axes:
    axes: Any = plt.subplots()[1] if ax is None else ax
    numbers = values.to_numpy(dtype=float)
    image = axes.imshow(numbers, cmap="viridis", aspect="auto")
    axes.set_xticks(range(values.shape[1]), values.columns, rotation=30, ha="right")
    axes.set_yticks(range(values.shape[0]), values.index)
    axes.grid(visible=False)
    middle = np.nanmean([np.nanmin(numbers), np.nanmax(numbers)])
    for (row, column), value in np.ndenumerate(numbers):
        text = "–" if np.isnan(value) else f"{value:.2f}"
        shade = "black" if value > middle else "white"
        axes.text(column, row, text, ha="center", va="center", color=shade, fontsize=6)
    axes.figure.colorbar(image, ax=axes, label=label, shrink=0.8)
    return axes
