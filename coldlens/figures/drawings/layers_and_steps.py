"""Predictions of several steps, and steering at several layers against a step really taken."""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportGeneralTypeIssues=false, reportIndexIssue=false

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coldlens.figures.drawing import TWO_COLUMNS, Drawing
from coldlens.figures.drawings.lines import line_with_range
from coldlens.plotting.style import styled

PREDICTIONS = {
    "one step": {"color": "#000000", "marker": "o"},
    "path": {"color": "#d55e00", "marker": "s"},
    "halfway": {"color": "#0072b2", "marker": "D", "linestyle": "--"},
    "hessian": {"color": "#009e73", "marker": "^", "linestyle": ":"},
}
WAYS = {
    "single": {"color": "#000000", "marker": "o", "linestyle": "-"},
    "jointly": {"color": "#d55e00", "marker": "s", "linestyle": "--"},
    "separately": {"color": "#0072b2", "marker": "D", "linestyle": ":"},
}


def draw(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draws how predictions of k steps age, and what several layers gain and cost.

    Args:
        tables: `steps`, `layers` and `closeness`.

    Returns:
        The figure: cosine to the real change at the first and the last layer; effect against side
        effect at each total length, of the sets chosen on validation; how much of the distance
        from a step really taken is left. All are means and ranges over behaviours.
    """
    steps = tables["steps"]
    with styled():
        figure, grid = plt.subplots(2, 2, figsize=(TWO_COLUMNS, 5.4))
        for panel, layer in zip(grid[0], (steps.layer.min(), steps.layer.max()), strict=True):
            _age(panel, steps[steps.layer == layer])
            panel.set_title(f"Several steps, layer {layer}")
        _effect(grid[1, 0], tables["layers"])
        _closeness(grid[1, 1], tables["closeness"])
        for panel in grid.flat[:3]:
            panel.legend()
        grid[1, 1].legend(loc="upper center", bbox_to_anchor=(0.5, -0.2))
        plt.close(figure)
    return figure


def reading(tables: Mapping[str, pd.DataFrame]) -> str:
    """Returns how well one step and the path predict, and what several layers leave.

    Args:
        tables: `steps` and `closeness`.
    """
    steps, closeness = tables["steps"], tables["closeness"]
    most = steps[(steps.steps == steps.steps.max()) & (steps.lr == steps.lr.max())]
    cosine = most.groupby("prediction").cosine.mean()
    left = _left(closeness)
    etas = sorted(set(left.eta))
    middle = etas[len(etas) // 2]
    at = left[left.eta == middle].groupby("way").left.mean()
    return (
        f"After {steps.steps.max()} steps of learning rate {steps.lr.max():g} the first step's "
        f"direction has a mean cosine of {cosine['one step']:.2f} to the real change, the mean "
        f"gradient of the path {cosine['path']:.2f}; at η = {middle:g} steering leaves "
        f"{at['single']:.1g} of the unsteered distance to a step really taken at the last layer, "
        f"{at['jointly']:.1g} at all layers given each other and {at['separately']:.2g} at all "
        "layers unaware of each other."
    )


def _age(panel: Axes, table: pd.DataFrame) -> None:
    aged = table.assign(time=(table.steps * table.lr).round(9))
    aged = aged[aged.steps > 1].groupby(["behaviour", "prediction", "time"], as_index=False)
    means = aged.cosine.mean()
    for prediction, looks in PREDICTIONS.items():
        rows = means[means.prediction == prediction]
        line_with_range(panel, rows, "time", "cosine", label=prediction, **looks)
    panel.set(xscale="log", xlabel="steps × learning rate", ylabel="cosine to the real change")


def _effect(panel: Axes, table: pd.DataFrame) -> None:
    chosen = table[table.chosen]
    for way, looks in WAYS.items():
        found = chosen[chosen.way == way].groupby("target")[["probability", "facts_kl"]]
        middle, low, high = found.mean(), found.min(), found.max()
        panel.errorbar(
            middle.facts_kl,
            middle.probability,
            xerr=[middle.facts_kl - low.facts_kl, high.facts_kl - middle.facts_kl],
            yerr=[middle.probability - low.probability, high.probability - middle.probability],
            elinewidth=0.5,
            label=way,
            **looks,
        )
    panel.axhline(table.unsteered.mean(), color="0.4", linestyle=":")
    panel.set(xscale="log", xlabel="side effect: KL on facts (nats)", title="One or several layers")
    panel.set_ylabel("probability of the behaviour")


def _left(closeness: pd.DataFrame) -> pd.DataFrame:
    """Returns the last layer alone and all layers, with what is left of the distance."""
    every = max(closeness.layers.astype(str), key=len)
    wanted = {"single": every.split()[-1], "jointly": every, "separately": every}
    chosen = closeness[closeness.layers.astype(str) == closeness.way.map(wanted)]
    return chosen.assign(left=chosen.kl_from_stream / chosen.unsteered_kl_from_stream)


def _closeness(panel: Axes, table: pd.DataFrame) -> None:
    left = _left(table)
    for way, looks in WAYS.items():
        rows = left[left.way == way]
        label = f"{way}: layer {rows.layers.iloc[0]}"
        line_with_range(panel, rows, "eta", "left", label=label, **looks)
    panel.axhline(1, color="0.4", linestyle=":")
    panel.set(xscale="log", yscale="log", xlabel="step size η")
    panel.set_title("Against a step really taken")
    panel.set_ylabel("KL from the stepped\nstream / unsteered")


DRAWING = Drawing(
    "layers_and_steps",
    "Several steps and several layers",
    {
        "steps": ("behaviour", "lr", "steps", "layer", "prediction", "relative_error", "cosine"),
        "layers": ("behaviour", "way", "target", "layers", "probability", "facts_kl", "chosen"),
        "contrasts": ("behaviour", "way", "target", "probability", "facts_kl"),
        "closeness": ("behaviour", "way", "layers", "eta", "kl_from_step", "kl_from_stream"),
    },
    draw,
    reading,
)
