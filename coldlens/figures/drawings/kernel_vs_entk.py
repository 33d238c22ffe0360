"""Blocks against the identity, and the four rungs from the exact displacement to COLD-Kernel."""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from coldlens.figures.drawing import TWO_COLUMNS, Drawing
from coldlens.plotting.kernels import plot_alignment, plot_ladder
from coldlens.plotting.style import styled


def draw(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draws alignment and ladder by layer.

    Args:
        tables: `pairs` and `ladder`.

    Returns:
        The figure.
    """
    with styled():
        figure, (left, right) = plt.subplots(1, 2, figsize=(TWO_COLUMNS, 3.1))
        plot_alignment(tables["pairs"], left)
        plot_ladder(tables["ladder"], right)
        left.set_title("Blocks (median, 10–90 % of pairs)")
        right.set_title("Ladder (mean and range of queries)")
        for panel in (left, right):
            panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
        plt.close(figure)
    return figure


def reading(tables: Mapping[str, pd.DataFrame]) -> str:
    """Returns what identity and one position cost.

    Args:
        tables: `pairs` and `ladder`.
    """
    pairs, ladder = tables["pairs"], tables["ladder"]
    first, last = pairs.layer.min(), pairs.layer.max()
    aligned = pairs[~pairs.same_prompt].groupby("layer").alignment.median()
    rungs = ladder.pivot_table("cosine", "layer", "rung")
    least, most = (f"{end:.2f} (layer {place})" for end, place in _ends(rungs.constant))
    lost = {
        "reading the last prompt token only": (rungs.full - rungs.last_position).mean(),
        "replacing blocks by scalars": (rungs.last_position - rungs.scalar).mean(),
        "using one scalar for all pairs": (rungs.scalar - rungs.constant).mean(),
    }
    dearest = max(lost, key=lost.__getitem__)
    return (
        f"Between two prompts the median cosine of a block to the identity is "
        f"{aligned[first]:.2f} at layer {first} and {aligned[last]:.2f} at layer {last}; "
        f"COLD-Kernel's mean cosine to the exact displacement lies between {least} and {most}, "
        f"and what costs most on average over layers is {dearest} ({lost[dearest]:.2f})."
    )


def _ends(values: pd.Series) -> list[tuple[float, int]]:
    return [(float(values[place]), int(place)) for place in (values.idxmin(), values.idxmax())]


DRAWING = Drawing(
    "kernel_vs_entk",
    "The identity kernel against the empirical NTK",
    {
        "pairs": ("layer", "query", "example", "same_prompt", "alignment", "scale", "residual"),
        "ladder": ("layer", "query", "rung", "cosine", "relative_error", "norm_ratio"),
        "layers": ("layer", "effective_rank", "scale_variation", "coherence"),
    },
    draw,
    reading,
)
