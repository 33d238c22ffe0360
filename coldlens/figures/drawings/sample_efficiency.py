"""The score on test questions by the number of examples, over all behaviours and of each."""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportIndexIssue=false

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coldlens.figures.drawing import TWO_COLUMNS, Drawing
from coldlens.plotting.style import looks, styled


def draw(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draws the score by the number of examples, with intervals over wordings.

    Args:
        tables: `curve` and `scores`.

    Returns:
        The figure: the mean over behaviours, and each behaviour.
    """
    curve, scores = tables["curve"], tables["scores"].rename(columns={"test": "mean"})
    behaviours = list(dict.fromkeys(scores.behaviour))
    methods = [name for name in dict.fromkeys(scores.method) if name != "base"]
    rows = -(-(len(behaviours) + 1) // 4)
    with styled():
        figure, grid = plt.subplots(
            rows, 4, figsize=(TWO_COLUMNS, 0.8 + 1.6 * rows), sharex=True, sharey=True
        )
        panels = list(grid.flat)
        _lines(panels[0], curve, methods, "mean of all")
        for panel, behaviour in zip(panels[1:], behaviours, strict=False):
            _lines(panel, scores[scores.behaviour == behaviour], methods, behaviour)
        for panel in panels[len(behaviours) + 1 :]:
            panel.remove()
        figure.supxlabel("examples N", fontsize=8)
        figure.supylabel("probability (95 % interval)", fontsize=8)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
        plt.close(figure)
    return figure


def reading(tables: Mapping[str, pd.DataFrame]) -> str:
    """Returns the mean scores with the fewest and the most examples.

    Args:
        tables: `curve`.
    """
    curve = tables["curve"]
    base, rest = curve[curve.method == "base"].iloc[0], curve[curve.method != "base"]
    few, many = rest["size"].min(), rest["size"].max()
    parts = []
    for method, rows in rest.groupby("method", sort=False):
        first, last = (rows[rows["size"] == size].iloc[0] for size in (few, many))
        parts.append(
            f"{method} {first['mean']:.2f} → {last['mean']:.2f} [{last.low:.2f}, {last.high:.2f}]"
        )
    return (
        f"From {few} to {many} examples the mean probability of the behaviours, unsteered "
        f"{base['mean']:.2f}, goes as {', '.join(parts)} (95 % intervals over wordings)."
    )


def _lines(panel: Axes, table: pd.DataFrame, methods: list[str], title: str) -> None:
    rest = table[table.method != "base"]
    panel.axhline(table[table.method == "base"]["mean"].iloc[0], color="0.4", linestyle=":",
                  label="base")  # fmt: skip
    for place, (method, look) in enumerate(looks(methods).items()):
        rows = rest[rest.method == method].sort_values("size")
        # A little apart, so that bars do not hide each other.
        across = rows["size"] * np.exp(0.04 * (place - (len(methods) - 1) / 2))
        ends = [rows["mean"] - rows.low, rows.high - rows["mean"]]
        panel.errorbar(across, rows["mean"], ends, elinewidth=0.6, label=method, **look)
    sizes = sorted(rest["size"].unique())
    panel.set(xscale="log", title=title)
    panel.set_xticks(sizes, [str(size) for size in sizes])
    panel.minorticks_off()


DRAWING = Drawing(
    "sample_efficiency",
    "How many examples it takes",
    {
        "curve": ("setting", "method", "size", "mean", "low", "high", "lowest", "highest"),
        "scores": ("behaviour", "setting", "method", "size", "test", "low", "high", "seeds"),
    },
    draw,
    reading,
)
