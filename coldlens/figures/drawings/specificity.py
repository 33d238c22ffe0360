"""What steering towards each behaviour does to every other one, as matrices."""

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
from coldlens.plotting.style import COLORS, styled

_KINDS = ("own", "others", "facts")


def draw(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draws a matrix a method, behaviours steered to by questions measured, and their means.

    Args:
        tables: `pairs` and `overall`.

    Returns:
        The figure: changes of the probability; means with intervals over wordings.
    """
    pairs, overall = tables["pairs"], tables["overall"]
    limit = 100 * pairs.change.abs().max()
    with styled():
        figure = plt.figure(figsize=(TWO_COLUMNS, 5.2))
        above, below = figure.subfigures(2, 1, height_ratios=(3, 2))
        panels = above.subplots(1, len(overall), sharey=True)
        images = [
            _matrix(panel, pairs[pairs.method == method], method, limit)
            for panel, method in zip(panels, overall.method, strict=True)
        ]
        panels[0].set_ylabel("steered towards")
        above.colorbar(images[0], ax=panels, label="change of the probability × 100")
        _means(below.subplots(), overall)
        plt.close(figure)
    return figure


def reading(tables: Mapping[str, pd.DataFrame]) -> str:
    """Returns how much each method moves the behaviour itself, the others and facts.

    Args:
        tables: `overall`.
    """
    parts = [
        f"{row.method} {row.own:+z.2f} [{row.own_low:+z.2f}, {row.own_high:+z.2f}], the others by "
        f"{row.others_size:.2f} in size, facts by {row.facts:+z.2f}"
        for row in tables["overall"].itertuples()
    ]
    return (
        f"On average over behaviours the probability of the one steered to is changed by "
        f"{'; by '.join(parts)} (95 % intervals over wordings)."
    )


def _matrix(panel: Axes, table: pd.DataFrame, method: str, limit: float) -> AxesImage:
    matrix = table.pivot_table(index="steered", columns="measured", values="change", sort=False)
    image = changes(panel, 100 * matrix, limit, form="+z.0f")
    panel.tick_params("x", rotation=90)
    panel.set(title=method, xlabel="measured")
    return image


def _means(panel: Axes, overall: pd.DataFrame) -> None:
    across = np.arange(len(_KINDS))
    for place, row in enumerate(overall.to_dict("records")):
        middle, low, high = (
            np.array([row[f"{kind}{end}"] for kind in _KINDS]) for end in ("", "_low", "_high")
        )
        panel.errorbar(
            across + 0.2 * (place - (len(overall) - 1) / 2),
            middle,
            [middle - low, high - middle],
            fmt="osDX"[place],
            color=COLORS.get(row["method"], COLORS["InContext"]),
            label=row["method"],
        )
    panel.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    panel.set_xticks(across, ["steered to", "the others, with sign", "facts"])
    panel.set_ylabel("mean change of the\nprobability (95 % interval)")
    panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


DRAWING = Drawing(
    "specificity",
    "What steering does to other behaviours",
    {
        "pairs": ("method", "steered", "measured", "unsteered", "change", "low", "high"),
        "overall": (
            *("method", "own", "own_low", "own_high", "others", "others_low", "others_high"),
            *("others_size", "facts", "facts_low", "facts_high"),
        ),
        "choices": ("behaviour", "method", "layer", "relative", "eta", "validation"),
    },
    draw,
    reading,
)
