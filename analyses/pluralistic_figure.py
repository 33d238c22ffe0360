"""Figure of steering towards groups."""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportGeneralTypeIssues=false, reportIndexIssue=false

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coldlens.plotting.style import COLORS, styled


def plot_pluralistic(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draws the distance to each group, and what steering to one does to all.

    Args:
        tables: `groups` and `pairs`.

    Returns:
        The figure: distances with intervals over questions; the change by group steered to and
        group measured, for ColdFD and for ColdJVP with several steps.
    """
    groups, pairs = tables["groups"], tables["pairs"]
    methods = list(dict.fromkeys(groups.method))
    with styled():
        figure, panels = plt.subplots(1, 3, figsize=(9, 2.8), width_ratios=(1.5, 1, 1))
        _distances(panels[0], groups, methods)
        for panel, method in zip(panels[1:], (methods[0], methods[2]), strict=True):
            _changes(panel, pairs[pairs.method == method], method)
        plt.close(figure)
    return figure


def _distances(panel: Axes, table: pd.DataFrame, methods: list[str]) -> None:
    names = list(dict.fromkeys(table.group))
    first = table[table.method == methods[0]]
    panel.plot(np.arange(len(names)), first.unsteered, "_", color="0.4", ms=18, label="unsteered")
    others = iter(("#009e73", "#cc79a7", "#56b4e9"))
    for place, method in enumerate(methods):
        rows = table[table.method == method]
        across = np.arange(len(names)) + 0.12 * (place - (len(methods) - 1) / 2)
        ends = [rows.steered - rows.steered_low, rows.steered_high - rows.steered]
        color = COLORS.get(method) or next(others)
        panel.errorbar(across, rows.steered, ends, fmt="o", ms=3, color=color, label=method)
    panel.set_xticks(np.arange(len(names)), names)
    panel.set(ylabel="total variation distance to the group", ylim=(0, 1))
    panel.legend(ncols=2, fontsize=6)


def _changes(panel: Axes, table: pd.DataFrame, method: str) -> None:
    matrix = table.pivot_table(index="towards", columns="measured", values="change", sort=False)
    image = panel.imshow(matrix, cmap="RdBu_r", vmin=-0.5, vmax=0.5)
    panel.set_xticks(np.arange(len(matrix.columns)), list(matrix.columns), rotation=60)
    panel.set_yticks(np.arange(len(matrix)), list(matrix.index))
    panel.set(title=f"change: {method}", xlabel="measured", ylabel="steered to")
    panel.grid(visible=False)
    panel.figure.colorbar(image, ax=panel, shrink=0.8)
