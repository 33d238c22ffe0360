"""The error of a finite difference against its step, in three precisions."""

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
from coldlens.figures.drawings.lines import power
from coldlens.plotting.equivalence import PAPER_STEP
from coldlens.plotting.style import PRECISIONS, styled


def draw(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draws forward and central differences: median and range over layers.

    Args:
        tables: `errors` and `choices`.

    Returns:
        The figure.
    """
    errors, choices = tables["errors"], tables["choices"]
    chosen = choices[choices.rule == "auto"]
    with styled():
        figure, panels = plt.subplots(1, 2, figsize=(TWO_COLUMNS, 3.0), sharey=True)
        for panel, scheme in zip(panels, ("forward", "central"), strict=True):
            _curves(panel, errors[errors.scheme == scheme])
            _chosen(panel, chosen[chosen.scheme == scheme])
            panel.axvline(PAPER_STEP, color="0.4", linewidth=0.8, linestyle=":")
            place = panel.get_xaxis_transform()
            panel.text(PAPER_STEP, 1, " the paper's ε", fontsize=6, va="top", transform=place)
            panel.set_title(f"{scheme} difference")
            panel.set_xlabel("ε")
        panels[0].set_ylabel("‖ColdFD − ColdJVP‖ / ‖ColdJVP‖")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        plt.close(figure)
    return figure


def reading(tables: Mapping[str, pd.DataFrame]) -> str:
    """Returns the errors at the paper's step, the least ones, and those of the automatic step.

    Args:
        tables: `errors` and `choices`.
    """
    errors, choices = tables["errors"], tables["choices"]
    forward = errors[errors.scheme == "forward"]
    median = forward.groupby(["precision", "epsilon"]).error.median()
    nearest = float(forward.epsilon.iloc[np.argmin(np.abs(np.log(forward.epsilon / PAPER_STEP)))])
    paper = {dtype: median[dtype, nearest] for dtype in PRECISIONS}
    least = {dtype: median[dtype].min() for dtype in PRECISIONS}
    auto = choices[(choices.rule == "auto") & (choices.scheme == "forward")]
    own = auto[auto.precision == auto.precision.iloc[-1]]
    precision, computed_in = own.precision.iloc[0], own.computed_in.iloc[0]
    return (
        f"At ε = {power(nearest)} a forward difference is off by {_listed(paper)} (median over "
        f"layers); no ε makes it better than {_listed(least)}; the step that coldlens chooses for "
        f"a {precision} model, ε = {power(own.epsilon.iloc[0])} computed in {computed_in}, is off "
        f"by {power(own.error.median())}."
    )


def _listed(by_dtype: Mapping[str, float]) -> str:
    parts = [f"{power(value)} in {dtype}" for dtype, value in by_dtype.items()]
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _curves(axes: Axes, errors: pd.DataFrame) -> None:
    for dtype, look in PRECISIONS.items():
        found = errors[errors.precision == dtype].groupby("epsilon").error
        middle = found.median()
        axes.fill_between(
            middle.index, found.min(), found.max(), color=look["color"], alpha=0.2, linewidth=0
        )
        axes.loglog(middle.index, middle, markersize=3, label=dtype, **look)


def _chosen(axes: Axes, choices: pd.DataFrame) -> None:
    kinds = choices[["precision", "computed_in"]].drop_duplicates()
    for dtype, computed_in in kinds.itertuples(index=False):
        rows = choices[(choices.precision == dtype) & (choices.computed_in == computed_in)]
        label = f"chosen for a {dtype} model"
        if computed_in != dtype:
            label += f", computed in {computed_in}"
        color = PRECISIONS[computed_in]["color"]
        marker = "*" if dtype == computed_in else "P"
        axes.plot(
            rows.epsilon.median(),
            rows.error.median(),
            marker,
            color=color,
            markeredgecolor="black",
            markersize=9,
            label=label,
            zorder=5,
        )


DRAWING = Drawing(
    "epsilon",
    "The step of COLD-FD",
    {
        "errors": ("precision", "scheme", "epsilon", "layer", "error"),
        "choices": ("precision", "scheme", "rule", "epsilon", "computed_in", "layer", "error"),
    },
    draw,
    reading,
)
