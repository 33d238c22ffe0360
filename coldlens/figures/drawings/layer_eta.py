"""The effect of every layer and step size as heat maps."""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportIndexIssue=false

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from coldlens.figures.drawing import TWO_COLUMNS, Drawing
from coldlens.figures.drawings.lines import changes
from coldlens.plotting.style import styled

METHODS = ("ColdFD", "ColdKernel", "DiffMean", "Random")


def draw(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draws layers by step sizes, a panel a behaviour and method.

    Args:
        tables: `grid`.

    Returns:
        The figure: the change of the probability on validation questions; a frame is the best
        cell, a bar under the number a loss of accuracy beyond the budget.
    """
    table = tables["grid"]
    behaviours = list(dict.fromkeys(table.behaviour))
    limit = table[table.method.isin(METHODS)].effect.abs().max()
    shape = (len(METHODS), len(behaviours))
    with styled():
        figure, panels = plt.subplots(
            *shape, figsize=(TWO_COLUMNS, 0.9 + 1.35 * shape[0]), sharex=True, sharey=True,
            squeeze=False,
        )  # fmt: skip
        images = []
        for row, method in zip(panels, METHODS, strict=True):
            for panel, behaviour in zip(row, behaviours, strict=True):
                chosen = (table.method == method) & (table.behaviour == behaviour)
                images.append(_cells(panel, table[chosen], limit))
                panel.set_title(f"{method}, {behaviour}")
            row[0].set_ylabel("layer")
        for panel in panels[-1]:
            panel.set_xlabel("step size relative to the residual stream")
        figure.colorbar(images[0], ax=panels, label="change of the probability", shrink=0.6)
        figure.suptitle(
            "frame: best cell within the budget; bar: more accuracy on facts lost than that",
            fontsize=8,
        )
        plt.close(figure)
    return figure


def reading(tables: Mapping[str, pd.DataFrame]) -> str:
    """Returns the best cell of each method within the budget, and how many cells are beyond it.

    Args:
        tables: `grid`.
    """
    table = tables["grid"]
    parts = []
    for behaviour, found in table.groupby("behaviour", sort=False):
        best = []
        for method in METHODS:
            rows = found[(found.method == method) & found.within].dropna(subset="effect")
            if len(rows):
                cell = rows.loc[rows.effect.idxmax()]
                best.append(
                    f"{method} layer {cell.layer}, η = {cell.relative:g} ({cell.effect:+z.2f} "
                    f"[{cell.effect_low:+z.2f}, {cell.effect_high:+z.2f}])"
                )
        parts.append(f"{behaviour} {', '.join(best)}")
    shown = table[table.method.isin(METHODS)]
    return (
        f"The best cells within the budget are, for {'; for '.join(parts)}; "
        f"{(~shown.within).sum()} of {len(shown)} cells lose more accuracy on facts than the "
        "budget allows (validation questions, 95 % intervals over wordings)."
    )


def _cells(panel: Axes, table: pd.DataFrame, limit: float) -> AxesImage:
    effect, within = (
        table.pivot_table(index="layer", columns="relative", values=name, dropna=False)
        for name in ("effect", "within")
    )
    image = changes(panel, effect.rename(columns="{:g}".format), limit)
    for (row, column), kept in np.ndenumerate(within.to_numpy(dtype=float)):
        if not kept:
            panel.plot(
                [column - 0.25, column + 0.25],
                [row + 0.3] * 2,
                color="0.2",
                linewidth=1,
                path_effects=[withStroke(linewidth=2.5, foreground="white")],
            )
    allowed = effect.where(within == 1).to_numpy(dtype=float)
    if not np.isnan(allowed).all():
        row, column = np.unravel_index(np.nanargmax(allowed), allowed.shape)
        panel.add_patch(Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, fill=False, lw=1.5))
    return image


DRAWING = Drawing(
    "layer_eta",
    "Every layer and step size",
    {
        "grid": (
            *("behaviour", "method", "layer", "relative", "effect", "effect_low", "effect_high"),
            *("accuracy_change", "within"),
        )
    },
    draw,
    reading,
)
