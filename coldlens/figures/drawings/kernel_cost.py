"""Time and memory of kernel blocks, in units of those of structured derivatives."""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from coldlens.figures.drawing import TWO_COLUMNS, Drawing
from coldlens.plotting.style import styled

LOOKS = {
    "contraction": {
        "color": "#d55e00",
        "marker": "s",
        "linestyle": "-",
        "label": "Jacobian contraction",
    },
    "pairs once": {
        "color": "#e69f00",
        "marker": "^",
        "linestyle": "--",
        "label": "Jacobians, each pair once",
    },
    "products": {
        "color": "#0072b2",
        "marker": "o",
        "linestyle": ":",
        "label": "products, row by row",
    },
}
AXES = {"d": "width d", "layers": "layers L", "tokens": "tokens T", "examples": "examples N"}
TIME = "ratio_to_structured"
RATIOS = {
    TIME: "time / structured",
    "peak_ratio_to_structured": "peak memory / structured",
}


def draw(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draws time and peak memory in units of those of structured derivatives.

    Args:
        tables: `lines`.

    Returns:
        The figure: a row for time and one for memory, a column an axis.
    """
    lines = tables["lines"]
    axes = list(dict.fromkeys(lines["axis"]))
    with styled():
        figure, grid = plt.subplots(
            len(RATIOS),
            len(axes),
            figsize=(TWO_COLUMNS, 3.8),
            sharex="col",
            sharey="row",
            squeeze=False,
        )
        for panels, (column, label) in zip(grid, RATIOS.items(), strict=True):
            panels[0].set_ylabel(label)
            for panel, axis in zip(panels, axes, strict=True):
                part = lines[lines["axis"] == axis]
                for method, looks in LOOKS.items():
                    rows = part[part.method == method]
                    panel.plot(rows["size"], rows[column], **looks)
                    if column == TIME:
                        panel.vlines(
                            rows["size"],
                            rows.ratio_low,
                            rows.ratio_high,
                            color=looks["color"],
                            linewidth=0.7,
                        )
                panel.axhline(1, color="0.4", linewidth=0.8)
                panel.set(xscale="log", yscale="log")
                panel.xaxis.set_major_locator(FixedLocator(sorted(set(part["size"]))))
                panel.xaxis.set_major_formatter(ScalarFormatter())
                panel.xaxis.set_minor_locator(NullLocator())
        for panel, axis in zip(grid[-1], axes, strict=True):
            panel.set_xlabel(AXES[axis])
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
        plt.close(figure)
    return figure


def reading(tables: Mapping[str, pd.DataFrame]) -> str:
    """Returns how many bounds are met, the tightest of these, and which are missed by what.

    Args:
        tables: `bounds`.
    """
    known = tables["bounds"].dropna(subset="limit")
    missed = known[~known.holds.astype(bool)]
    met = known.drop(missed.index)
    parts = [f"{len(met)} of {len(known)} bounds are met"]
    margins = np.log(met.measured / met.limit).abs()
    if len(met):
        parts.append(f"the tightest is {_words(met.loc[margins.idxmin()])}")
    if len(missed):
        parts.append(f"missed are {'; '.join(_words(row) for _, row in missed.iterrows())}")
    return "; ".join(parts) + "."


def _words(bound: pd.Series) -> str:
    return f"{bound.claim}: {bound.measured:.3g} (bound {bound.relation} {bound.limit:g})"


DRAWING = Drawing(
    "kernel_cost",
    "What exact kernel blocks cost",
    {
        "cost": ("d", "layers", "tokens", "examples", "method", "seconds", "peak_mb"),
        "lines": ("axis", "size", "method", *RATIOS, "ratio_low", "ratio_high"),
        "growth": ("axis", "method", "seconds_exponent", "peak_mb_exponent"),
        "bounds": ("claim", "measured", "relation", "limit", "holds"),
    },
    draw,
    reading,
)
