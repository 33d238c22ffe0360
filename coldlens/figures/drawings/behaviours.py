"""The main table of a sweep: methods by behaviours, with intervals and ranks."""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportIndexIssue=false

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from coldlens.figures.drawing import TWO_COLUMNS, Drawing
from coldlens.plotting.style import styled
from coldlens.plotting.sweep import plot_main_table, plot_scores

_LABEL = "probability of the behaviour"


def draw(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draws the mean of each method with its interval, and its score on each behaviour.

    Args:
        tables: `main`.

    Returns:
        The figure: methods from the best average rank to the worst.
    """
    table = tables["main"].set_index(["setting", "method"])
    with styled():
        height = 1.3 + 0.2 * len(table)
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(TWO_COLUMNS, height), width_ratios=(1, 1.5)
        )
        plot_scores(table, left, _LABEL)
        left.set(xlabel="mean, 95 % interval over wordings", ylim=(-0.5, len(table) - 0.5))
        plot_main_table(table, right, _LABEL)
        right.set_yticks(range(len(table)), [""] * len(table))
        right.tick_params("x", rotation=90)
        for label in right.get_xticklabels():
            label.set_horizontalalignment("center")
        left.set_title("All behaviours")
        right.set_title("Each behaviour")
        plt.close(figure)
    return figure


def reading(tables: Mapping[str, pd.DataFrame]) -> str:
    """Returns the three best ranks, those of COLD-Steer and the controls, and the plain model.

    Args:
        tables: `main`.
    """
    table = tables["main"].sort_values("average_rank", kind="stable")
    base, rest = table[table.method == "base"].iloc[0], table[table.method != "base"]
    several = len(set(rest.setting)) > 1
    best, others = rest.iloc[:3], rest.iloc[3:]
    cold = others[others.method.isin(["ColdFD", "ColdKernel", "FineTune", "Random"])]

    def told(rows: pd.DataFrame) -> str:
        return ", ".join(
            f"{row.method}{f' ({row.setting})' if several else ''} {row.mean:.2f} "
            f"[{row.low:.2f}, {row.high:.2f}] (rank {row.average_rank:.1f})"
            for row in rows.itertuples()
        )

    return (
        f"Unsteered the behaviours have a mean probability of {base['mean']:.2f} "
        f"[{base.low:.2f}, {base.high:.2f}]; the best average ranks of {len(table)} have "
        f"{told(best)}; further down are {told(cold)} (95 % intervals over wordings)."
    )


DRAWING = Drawing(
    "behaviours",
    "Every method on every behaviour",
    {
        "main": ("setting", "method", "mean", "low", "high", "average_rank", "capability_change"),
        "accuracy": ("setting", "method", "mean", "low", "high", "average_rank"),
        "differences": ("setting", "method", "to", "mean", "low", "high"),
        "scores": ("behaviour", "setting", "method", "size", "test", "low", "high", "seeds"),
        "choices": ("behaviour", "setting", "method", "seed", "layer", "relative", "eta", "test"),
    },
    draw,
    reading,
)
