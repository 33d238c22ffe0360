"""Figures of a kernel agreement."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from coldlens.plotting.style import RUNG_LOOKS, layer_looks, styled

NEAR = 12
"""Tokens on either side of the end of the prompt that are shown one by one."""


def plot_alignment(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draws the alignment of the blocks with the identity by layer, spread over pairs.

    Args:
        table: `KernelAgreement.table`.
        ax: Where to draw; a new figure by default.

    Returns:
        The Axes.
    """
    axes = plt.subplots()[1] if ax is None else ax
    groups = [
        (False, "two prompts", "#0072b2", "o-"),
        (True, "a prompt with itself", "#d55e00", "s--"),
    ]
    for same, label, color, line in groups:
        rows = table[table.same_prompt == same]
        if rows.empty:
            continue
        by_layer = rows.groupby("layer").alignment
        low, middle, high = (by_layer.quantile(part) for part in (0.1, 0.5, 0.9))
        axes.errorbar(
            middle.index + (0.06 if same else -0.06),
            middle,
            yerr=[middle - low, high - middle],
            label=label,
            color=color,
            fmt=line,
            capsize=2,
            elinewidth=0.8,
        )
    axes.axhline(1, color="0.6", linewidth=0.8, zorder=0)
    axes.set_ylim(min(0.0, table.alignment.min() - 0.05), 1.08)
    _layer_axis(axes, table)
    axes.set_ylabel("cosine between K and the identity")
    axes.legend(loc="best")
    return axes


def plot_ladder(ladder: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draws the mean cosine to the exact displacement by layer, one line a rung.

    Args:
        ladder: `KernelAgreement.ladder`.
        ax: Where to draw; a new figure by default.

    Returns:
        The Axes.
    """
    axes = plt.subplots()[1] if ax is None else ax
    for rung in dict.fromkeys(ladder.rung):
        rows = ladder[ladder.rung == rung].groupby("layer").cosine
        mean = rows.mean()
        color = RUNG_LOOKS[rung]["color"]
        axes.fill_between(mean.index, rows.min(), rows.max(), color=color, alpha=0.12, linewidth=0)
        axes.plot(mean.index, mean, label=rung.replace("_", " "), **RUNG_LOOKS[rung])
    axes.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    axes.set_ylim(min(-0.1, ladder.cosine.min() - 0.05), 1.05)
    _layer_axis(axes, ladder)
    axes.set_ylabel("cosine to the exact displacement")
    axes.legend(loc="best")
    return axes


def plot_spectra(spectra: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draws the eigenvalues of a query's kernel with itself, averaged over queries.

    Args:
        spectra: `KernelAgreement.spectra`; that of a sketched kernel is empty.
        ax: Where to draw; a new figure by default.

    Returns:
        The Axes.
    """
    axes = plt.subplots()[1] if ax is None else ax
    if spectra.empty:
        axes.text(0.5, 0.5, "a sketched kernel has no spectra", ha="center", va="center")
        axes.set_axis_off()
        return axes
    layers = sorted(spectra.layer.unique().tolist())
    width = len(set(spectra["rank"]))
    for layer, look in layer_looks(layers).items():
        mean = spectra[spectra.layer == layer].groupby("rank").eigenvalue_share.mean()
        axes.plot(mean.index, mean, **look)
    axes.axhline(1 / width, color="0.6", linestyle="--", linewidth=0.8, label="identity")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(max(1e-3 / width, 0.7 * spectra.eigenvalue_share.min()), 1.5)
    axes.set_xlabel("rank of the eigenvalue")
    axes.set_ylabel("share of the trace")
    axes.legend(loc="lower left")
    return axes


def plot_positions(positions: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draws the share of the kernel sum by distance from the end of the prompt.

    Averaged over queries and summed over examples. Tokens more than 12 from the end of the prompt
    are summed up at either end of the axis.

    Args:
        positions: `KernelAgreement.positions`.
        ax: Where to draw; a new figure by default.

    Returns:
        The Axes.
    """
    axes = plt.subplots()[1] if ax is None else ax
    layers = sorted(positions.layer.unique().tolist())
    place = positions.position.clip(-NEAR - 1, NEAR + 1)
    low, high = int(place.min()), int(place.max())
    count = positions["query"].nunique()
    shares = positions.pivot_table(index="layer", columns=place, values="share", aggfunc="sum")
    for layer, look in layer_looks(layers).items():
        row = shares.loc[layer] / count
        axes.plot(row.index, row, marker="o", markersize=3, **look)
    axes.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    axes.axvline(0.5, color="0.4", linestyle=":", linewidth=0.8, zorder=0)
    axes.set_xlabel("token (0: last of the prompt, 1: first of the completion)")
    axes.set_ylabel("share of the kernel sum")
    _position_ticks(axes, low, high)
    axes.legend(loc="best")
    return axes


def kernel_figure(
    table: pd.DataFrame,
    ladder: pd.DataFrame,
    spectra: pd.DataFrame,
    positions: pd.DataFrame,
    title: str,
) -> Figure:
    """Draws the four panels.

    Args:
        table: `KernelAgreement.table`.
        ladder: `KernelAgreement.ladder`.
        spectra: `KernelAgreement.spectra`.
        positions: `KernelAgreement.positions`.
        title: Title of the figure.

    Returns:
        The figure, closed for pyplot, so that no notebook shows it twice.
    """
    with styled():
        figure, panels = plt.subplots(2, 2, figsize=(10, 7.2))
        plot_alignment(table, panels[0, 0]).set_title(
            "Is a block a multiple of the identity? (median, 10–90 % of pairs)"
        )
        plot_ladder(ladder, panels[0, 1]).set_title(
            "What each approximation costs (mean and range of queries)"
        )
        plot_spectra(spectra, panels[1, 0]).set_title("Kernel of a query with itself")
        plot_positions(positions, panels[1, 1]).set_title("Which tokens carry the displacement?")
        figure.suptitle(title, fontsize=10)
        plt.close(figure)
    return figure


def _layer_axis(axes: Axes, table: pd.DataFrame) -> None:
    axes.set_xlim(table.layer.min() - 0.4, table.layer.max() + 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("layer (0-based block)")


def _position_ticks(axes: Axes, low: int, high: int) -> None:
    ticks = [int(tick) for tick in np.arange(low, high + 1) if tick % 4 == 0 and abs(tick) < NEAR]
    labels = [str(tick) for tick in ticks]
    if low < -NEAR:
        ticks, labels = [low, *ticks], ["all\nbefore", *labels]
    if high > NEAR:
        ticks, labels = [*ticks, high], [*labels, "all\nafter"]
    axes.set_xticks(ticks, labels)
