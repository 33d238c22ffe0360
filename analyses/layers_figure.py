"""Figure of several steps and several layers."""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportGeneralTypeIssues=false, reportIndexIssue=false

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coldlens.plotting.style import styled

PREDICTIONS = {
    "one step": {"color": "#000000", "marker": "o"},
    "path": {"color": "#d55e00", "marker": "s"},
    "halfway": {"color": "#0072b2", "marker": "D", "linestyle": "--"},
    "hessian": {"color": "#009e73", "marker": "^", "linestyle": ":"},
}
WAYS = {
    "single": {"color": "#000000", "marker": "o"},
    "jointly": {"color": "#d55e00", "marker": "s"},
    "separately": {"color": "#0072b2", "marker": "D"},
}


def plot_layers_and_steps(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draws how predictions of k steps age, and what several layers gain and cost.

    Args:
        tables: `steps`, `layers` and `closeness`.

    Returns:
        The figure: cosine to the real change at the first and the last layer; effect against side
        effect at each total length, of the sets chosen on validation; how much of the distance
        from a step really taken is left. All are means over behaviours.
    """
    steps, layers = tables["steps"], tables["layers"]
    with styled():
        figure, grid = plt.subplots(1, 4, figsize=(9, 2.6))
        for panel, layer in zip(grid, (steps.layer.min(), steps.layer.max()), strict=False):
            _age(panel, steps[steps.layer == layer])
            panel.set_title(f"several steps, layer {layer}")
        _effect(grid[2], layers)
        _closeness(grid[3], tables["closeness"])
        grid[0].legend()
        grid[2].legend()
        plt.close(figure)
    return figure


def _age(panel: Axes, table: pd.DataFrame) -> None:
    aged = table.assign(time=(table.steps * table.lr).round(9))
    means = aged[aged.steps > 1].groupby(["prediction", "time"]).cosine.mean()
    for prediction, looks in PREDICTIONS.items():
        line = means[prediction]
        panel.plot(line.index, line.to_numpy(), label=prediction, **looks)
    panel.set(xscale="log", xlabel="steps × learning rate", ylabel="cosine to the real change")


def _effect(panel: Axes, table: pd.DataFrame) -> None:
    chosen = table[table.chosen].groupby(["way", "target"])[["probability", "facts_kl"]].mean()
    for way, looks in WAYS.items():
        line = chosen.loc[way]
        panel.plot(line.facts_kl, line.probability, label=way, **looks)
    panel.axhline(table.unsteered.mean(), color="0.4", linestyle=":")
    panel.set(xscale="log", xlabel="side effect: KL on facts (nats)", title="one or several layers")
    panel.set_ylabel("effect: probability of the behaviour")


def _closeness(panel: Axes, table: pd.DataFrame) -> None:
    left = table.assign(left=table.kl_from_stream / table.unsteered_kl_from_stream)
    means = left.groupby(["way", "layers", "eta"]).left.mean()
    every = max(table.layers, key=len)
    last = every.split()[-1]
    for way, layers in (("single", last), ("jointly", every), ("separately", every)):
        line = means[way, layers]
        panel.plot(line.index, line.to_numpy(), label=f"{way}: {layers}", **WAYS[way])
    panel.axhline(1, color="0.4", linestyle=":")
    panel.set(xscale="log", yscale="log", xlabel="step size η", title="against a step really taken")
    panel.set_ylabel("KL from the stepped stream / unsteered")
    panel.legend(loc="center left", bbox_to_anchor=(0, 0.68))
