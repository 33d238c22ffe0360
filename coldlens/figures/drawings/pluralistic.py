"""Steering towards groups: the distance to each group, and what steering to one does to all."""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportGeneralTypeIssues=false, reportIndexIssue=false

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from coldlens.figures.drawing import TWO_COLUMNS, Drawing
from coldlens.figures.drawings.lines import changes
from coldlens.plotting.style import COLORS, looks, styled

_DISTANCES = ("method", "unsteered", "steered", "change", "change_low", "change_high")


def draw(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draws distances with intervals, and the change by group steered to and group measured.

    Args:
        tables: `groups` and `pairs`.

    Returns:
        The figure: distances with intervals over topics; changes for ColdFD and for FineTune
        with several steps.
    """
    groups, pairs = tables["groups"], tables["pairs"]
    methods = list(dict.fromkeys(groups.method))
    shown = (methods[0], next(name for name in methods if name.startswith("FineTune")))
    with styled():
        figure = plt.figure(figsize=(TWO_COLUMNS, 5.2))
        above, below = figure.subfigures(2, 1, height_ratios=(1, 1))
        _distances(above.subplots(), groups, methods)
        panels = below.subplots(1, 2, sharey=True)
        images = [
            _changes(panel, pairs[pairs.method == method], method)
            for panel, method in zip(panels, shown, strict=True)
        ]
        panels[0].set_ylabel("steered to")
        below.colorbar(images[0], ax=panels, shrink=0.9, label="change of the distance")
        plt.close(figure)
    return figure


def reading(tables: Mapping[str, pd.DataFrame]) -> str:
    """Returns how much nearer each method brings the model to the group, with intervals.

    Args:
        tables: `overall`.
    """
    overall = tables["overall"]
    together = overall.chosen == overall.chosen.iloc[0]
    return (
        f"Unsteered, the total variation distance to a group's answers is "
        f"{overall.unsteered.iloc[0]:.3f}; on average over groups it changes by "
        f"{_listed(overall[together])} (95 % intervals over groups and topics). "
        f"With layer and step size chosen for each group alone it changes by "
        f"{_listed(overall[~together])}."
    )


def _listed(rows: pd.DataFrame) -> str:
    return ", ".join(
        f"{row.method} {row.change:+.3f} [{row.change_low:+.3f}, {row.change_high:+.3f}]"
        for row in rows.itertuples()
    )


def _distances(panel: Axes, table: pd.DataFrame, methods: list[str]) -> None:
    names = list(dict.fromkeys(table.group))
    first = table[table.method == methods[0]]
    ends = (np.arange(len(names)) - 0.36, np.arange(len(names)) + 0.36)
    panel.hlines(first.unsteered, *ends, color="0.4", linestyle=":", label="unsteered")
    for place, method in enumerate(methods):
        rows = table[table.method == method]
        across = np.arange(len(names)) + 0.12 * (place - (len(methods) - 1) / 2)
        ends = [rows.steered - rows.steered_low, rows.steered_high - rows.steered]
        panel.errorbar(across, rows.steered, ends, fmt=_marker(method), ms=4, color=_color(method),
                       mfc="white" if method.endswith("taken") else None, elinewidth=0.8,
                       label=method)  # fmt: skip
    panel.set_xticks(np.arange(len(names)), names)
    panel.set_ylim(bottom=0)
    panel.set_ylabel("total variation distance\nto the group (95 % interval)")
    panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _color(method: str) -> str:
    return COLORS[_family(method)]


def _marker(method: str) -> str:
    if method.endswith("taken"):
        return "D"
    return str(looks([_family(method)])[_family(method)]["marker"]) or "p"


def _family(method: str) -> str:
    if method.endswith("taken"):
        return "FineTune"
    return "InContext" if method.startswith("told") else method.split(",")[0]


def _changes(panel: Axes, table: pd.DataFrame, method: str) -> AxesImage:
    matrix = table.pivot_table(index="towards", columns="measured", values="change", sort=False)
    image = changes(panel, matrix, 0.5, "RdBu_r")
    panel.tick_params("x", rotation=45)
    panel.set(title=method, xlabel="measured")
    return image


DRAWING = Drawing(
    "pluralistic",
    "Steering towards the answers of a group",
    {
        "groups": ("group", *_DISTANCES, "others_change"),
        "pairs": ("towards", "measured", *_DISTANCES),
        "overall": (
            *("chosen", "clusters", "change_pairs_low", "change_pairs_high"),
            *(*_DISTANCES, "others_change"),
        ),
        "choices": ("method", "chosen", "group", "layer", "strength", "eta", "validation"),
    },
    draw,
    reading,
)
