"""Methods by layers: cosine to the exact displacement, to each other, and lengths."""

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
from coldlens.figures.drawings.lines import layer_axis, line_with_range, span
from coldlens.plotting.style import looks, styled

COSINE, EXACT = "cosine_to_ColdJVP", "ColdJVP"
GRADIENT = ("ColdKernel", "ColdFD", "FineTune")
"""Families of the left panel: those that use a gradient."""


def draw(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draws cosines by layer, the cosine of each pair at the middle layer, and lengths there.

    Args:
        tables: `directions` and `cosines`.

    Returns:
        The figure.
    """
    table = tables["directions"]
    methods = list(dict.fromkeys(table.method))
    layers = sorted(set(table.layer))
    middle = layers[len(layers) // 2]
    gradient = [method for method in methods if _family(method) in GRADIENT]
    others = [method for method in methods if method not in [*gradient, EXACT]]
    with styled():
        figure, grid = plt.subplots(
            2, 2, figsize=(TWO_COLUMNS, 6.4), height_ratios=(1, 1.15), width_ratios=(1.2, 1)
        )
        for panel, chosen, title in (
            (grid[0, 0], gradient, "Methods with a gradient"),
            (grid[0, 1], others, "Contrastive and random"),
        ):
            _by_layer(panel, table, chosen)
            panel.set_title(title)
        grid[0, 0].set_ylabel("cosine to ColdJVP")
        _matrix(grid[1, 0], _square(tables["cosines"], middle, methods))
        _lengths(grid[1, 1], table[table.layer == middle], methods)
        grid[1, 0].set_title(f"Mean cosine × 100, layer {middle}")
        grid[1, 1].set_title(f"Length, layer {middle}")
        plt.close(figure)
    return figure


def reading(tables: Mapping[str, pd.DataFrame]) -> str:
    """Returns how near each group of methods is to the exact displacement.

    Args:
        tables: `directions`.
    """
    table = tables["directions"]
    means = table.groupby(["method", "layer"], sort=False)[COSINE].mean()
    families = means.index.get_level_values("method").map(_family)
    near = span(means[families.isin(["ColdFD", "FineTune"])], ".3f")
    kernel = means[means.index.get_level_values("method") == "ColdKernel"]
    rest = means[~families.isin([*GRADIENT, EXACT, "Random"])].abs()
    control = means[families == "Random"].abs()
    draws = table.draw.nunique()
    contrast = (
        f"those of the contrastive directions are at most {rest.max():.2f} in size"
        if len(rest)
        else "without negatives there are no contrastive directions"
    )
    return (
        f"Over {draws} draw{'s' if draws > 1 else ''} of examples, COLD-FD and a real step have "
        f"mean cosines of {near} to the exact displacement, COLD-Kernel of {span(kernel)} by "
        f"layer; {contrast}; that of the random control is at most {control.max():.2f}."
    )


def _family(method: str) -> str:
    return method.split("(")[0]


def _by_layer(axes: Axes, table: pd.DataFrame, methods: list[str]) -> None:
    width = 0.5 / max(1, len(methods))
    for place, (method, look) in enumerate(looks(methods).items()):
        rows = table[(table.method == method) & table[COSINE].notna()]
        if len(rows):
            shift = width * (place - (len(methods) - 1) / 2)
            line_with_range(axes, rows, "layer", COSINE, shift, label=method, **look)
    axes.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    axes.set_ylim(min(-0.3, table[COSINE].min() - 0.05), 1.05)
    layer_axis(axes, table.layer)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)


def _square(cosines: pd.DataFrame, layer: int, methods: list[str]) -> pd.DataFrame:
    rows = cosines[cosines.layer == layer]
    upper = rows.pivot_table("cosine", "method", "other")
    upper = upper.reindex(index=methods, columns=methods)
    return upper.where(upper.notna(), upper.T)


def _matrix(axes: Axes, square: pd.DataFrame) -> None:
    axes.imshow(square, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(square.to_numpy()):
        shade = "white" if abs(value) > 0.6 else "black"
        text = "–" if np.isnan(value) else f"{round(100 * value) + 0}"
        axes.text(column, row, text, ha="center", va="center", color=shade, fontsize=6)
    axes.set_xticks(range(len(square)), square.columns, rotation=90)
    axes.set_yticks(range(len(square)), square.index)
    axes.grid(visible=False)


def _lengths(axes: Axes, table: pd.DataFrame, methods: list[str]) -> None:
    for place, (method, look) in enumerate(looks(methods).items()):
        found = table[(table.method == method) & (table.relative_norm > 0)].relative_norm
        if len(found):
            axes.hlines(place, found.min(), found.max(), color="0.6", linewidth=1)
            marker = look["marker"] or "p"
            axes.plot(found.mean(), place, marker, color=look["color"], markersize=5)
    axes.set_xscale("log")
    axes.set_yticks(range(len(methods)), [""] * len(methods))
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.set_xlabel("length / residual stream")


DRAWING = Drawing(
    "direction_cosines",
    "Every method against the exact one-step displacement",
    {
        "directions": ("draw", "layer", "method", "relative_norm", COSINE),
        "cosines": ("draw", "layer", "method", "other", "cosine"),
    },
    draw,
    reading,
)
