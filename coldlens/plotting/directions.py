"""Figures of a comparison of directions."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from coldlens.plotting.style import looks, styled


def plot_cosine_by_layer(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draws the cosine to the exact one-step displacement by layer, one line a method.

    Args:
        table: `DirectionReport.table`.
        ax: Where to draw; a new figure by default.

    Returns:
        The Axes.
    """
    axes = plt.subplots()[1] if ax is None else ax
    methods = list(dict.fromkeys(table.method))
    for method, look in looks(methods).items():
        rows = table[table.method == method]
        if rows.cosine_to_ColdJVP.isna().all():
            continue
        axes.plot(rows.layer, rows.cosine_to_ColdJVP, label=method, **look)  # pyright: ignore
    axes.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    axes.set_ylim(np.nanmin([-0.1, table.cosine_to_ColdJVP.min() - 0.05]), 1.05)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("layer (0-based block)")
    axes.set_ylabel("cosine to the exact one-step displacement")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    else:
        axes.text(
            0.5, 0.5, "ColdJVP is not among the methods", ha="center", transform=axes.transAxes
        )
    return axes


def plot_method_matrix(cosines: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draws the cosine of every pair of methods as a heat map with its numbers.

    Args:
        cosines: `DirectionReport.cosines(layer)`.
        ax: Where to draw; a new figure by default.

    Returns:
        The Axes.
    """
    axes = plt.subplots()[1] if ax is None else ax
    values = cosines.to_numpy()
    image = axes.imshow(values, cmap="RdBu", vmin=-1, vmax=1)
    places = range(len(cosines))
    axes.set_xticks(places, cosines.columns, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, cosines.index)
    axes.grid(visible=False)
    for row in places:
        for column in places:
            value = values[row, column]
            shade = "white" if abs(value) > 0.6 else "black"
            text = "–" if np.isnan(value) else f"{value:.2f}"
            axes.text(column, row, text, ha="center", va="center", color=shade, fontsize=5.5)
    axes.figure.colorbar(image, ax=axes, label="cosine", shrink=0.8)
    return axes


def direction_figure(table: pd.DataFrame, cosines: pd.DataFrame, layer: int, title: str) -> Figure:
    """Draws both panels.

    Args:
        table: `DirectionReport.table`.
        cosines: `DirectionReport.cosines(layer)`.
        layer: The layer of the second panel.
        title: Title of the figure.

    Returns:
        The figure, closed for pyplot, so that no notebook shows it twice.
    """
    with styled():
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(12.5, 4.8), gridspec_kw={"width_ratios": [1, 1.1]}
        )
        plot_cosine_by_layer(table, left)
        plot_method_matrix(cosines, right)
        left.set_title("Agreement with the exact displacement")
        right.set_title(f"Cosine between methods, layer {layer}")
        figure.suptitle(title, fontsize=10)
        plt.close(figure)
    return figure
