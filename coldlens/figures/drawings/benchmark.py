"""Measured ratios in units of their bounds, and time against size beside other libraries."""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from coldlens.figures.drawing import TWO_COLUMNS, Drawing
from coldlens.figures.drawings import kernel_cost
from coldlens.figures.drawings.lines import span
from coldlens.plotting.style import COLORS, styled

AXES = {"d": "width d", "layers": "layers L", "tokens": "tokens T", "examples": "examples N"}
LINES = {
    "DiffMean": {"color": COLORS["DiffMean"], "marker": "D"},
    "steering-vectors": {"color": COLORS["DiffMean"], "marker": "d", "linestyle": "--"},
    "RepE": {"color": COLORS["RepE"], "marker": "^"},
    "repeng": {"color": COLORS["RepE"], "marker": "v", "linestyle": "--"},
    "ColdFD": {"color": COLORS["ColdFD"], "marker": "s"},
    "ColdJVP": {"color": COLORS["ColdJVP"], "marker": "o", "markerfacecolor": "none"},
    "one by one": {"color": "#999999", "marker": "x", "linestyle": ":"},
}
"""Keyword arguments of `Axes.plot` by computation."""
_MODELS = ({"marker": "o", "color": "#0072b2"}, {"marker": "s", "color": "#d55e00"})


def draw(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draws ratios of time in units of their bounds, and below them time against size.

    Args:
        tables: `bounds` and `lines`.

    Returns:
        The figure: on top a row a bound and a mark a model; at the bottom a panel an axis.
    """
    lines = tables["lines"]
    axes = list(dict.fromkeys(lines["axis"]))
    with styled():
        figure = plt.figure(figsize=(TWO_COLUMNS, 6.6))
        top, bottom = figure.subfigures(2, 1, height_ratios=(2.4, 1)).tolist()
        _bounds(top.subplots(), tables["bounds"])
        panels = bottom.subplots(1, len(axes), squeeze=False)[0]
        for panel, axis in zip(panels, axes, strict=True):
            _growth(panel, lines[lines["axis"] == axis])
            panel.set_xlabel(AXES[axis])
        panels[0].set_ylabel("time (s)")
        handles, labels = panels[0].get_legend_handles_labels()
        bottom.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        plt.close(figure)
    return figure


def reading(tables: Mapping[str, pd.DataFrame]) -> str:
    """Returns what the directions cost beside other libraries, and which bounds are met.

    Args:
        tables: `bounds`.
    """
    rows, parts = tables["bounds"], []
    for what, against in (("DiffMean", "steering-vectors"), ("RepE", "repeng")):
        found = rows[(rows.what == what) & (rows.against == against) & (rows.part == "vectors")]
        time, peak = (span(found[found.measure == name].measured) for name in ("time", "peak"))
        if len(found):
            parts.append(f"{what} takes {time} of the time and {peak} of the memory of {against}")
    compared = f"{', '.join(parts)}. " if parts else ""
    return compared + kernel_cost.reading({"bounds": rows[rows.part != "agreement"]})


def _bounds(axes: Axes, bounds: pd.DataFrame) -> None:
    known = bounds[(bounds.measure == "time") & bounds.limit.notna()]
    labels = list(dict.fromkeys(f"{row.what}  /  {row.against}" for row in known.itertuples()))
    models = list(dict.fromkeys(known.parameters))
    for place, (size, looks) in enumerate(zip(models, _MODELS, strict=False)):
        rows = known[known.parameters == size]
        heights = [
            labels.index(f"{row.what}  /  {row.against}") + 0.15 * (2 * place - 1)
            for row in rows.itertuples()
        ]
        units = [rows[end] / rows.limit for end in ("low", "measured", "high")]
        axes.errorbar(
            units[1],
            heights,
            xerr=[units[1] - units[0], units[2] - units[1]],
            linestyle="none",
            markersize=4,
            elinewidth=0.7,
            label=f"{size / 1e6:.3g} M parameters",
            **looks,
        )
    axes.axvline(1, color="0.4", linewidth=0.8)
    axes.set(xscale="log", xlabel="time / its bound")
    axes.xaxis.set_major_locator(FixedLocator([0.25, 0.5, 0.75, 1, 1.5, 2, 4]))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks(range(len(labels)), labels, fontsize=6)
    axes.invert_yaxis()
    axes.legend(loc="best")


def _growth(axes: Axes, lines: pd.DataFrame) -> None:
    for what, looks in LINES.items():
        rows = lines[lines.what == what].sort_values("size")
        if len(rows):
            axes.plot(rows["size"], rows.seconds, label=what, markersize=3.5, **looks)
    axes.set(xscale="log", yscale="log")
    axes.xaxis.set_major_locator(FixedLocator(sorted(set(lines["size"]))))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())


DRAWING = Drawing(
    "benchmark",
    "Beside other libraries and plain passes",
    {
        "times": ("part", "what", "parameters", "repetition", "seconds", "peak_mb"),
        "lines": ("axis", "size", "part", "what", "seconds", "peak_mb"),
        "growth": ("axis", "part", "what", "measure", "exponent", "error"),
        "agreement": ("what", "against", "layer", "measure", "value", "relation", "limit"),
        "bounds": (
            "claim", "parameters", "part", "what", "against", "measure",
            "measured", "low", "high", "relation", "limit", "holds",
        ),
    },
    draw,
    reading,
)  # fmt: skip
