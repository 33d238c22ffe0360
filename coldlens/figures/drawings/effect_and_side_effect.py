"""The frontier of effect and side effect as the step size grows."""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportIndexIssue=false

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coldlens.figures.drawing import TWO_COLUMNS, Drawing
from coldlens.plotting.style import looks, styled

_SIDES = {"kl": "KL on facts (nats)", "accuracy_change": "change of accuracy on facts"}
_LIMIT = 0.1


def draw(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draws the change of the behaviour against KL and against accuracy on unrelated questions.

    Args:
        tables: `frontier`.

    Returns:
        The figure: a row a behaviour, a line a method, a point a step size.
    """
    table = tables["frontier"]
    behaviours = list(dict.fromkeys(table.behaviour))
    with styled():
        figure, grid = plt.subplots(
            len(behaviours), 2, figsize=(TWO_COLUMNS, 0.7 + 2.3 * len(behaviours)),
            sharex="col", sharey="row", squeeze=False,
        )  # fmt: skip
        for row, behaviour in zip(grid, behaviours, strict=True):
            for panel, side in zip(row, _SIDES, strict=True):
                _frontier(panel, table[table.behaviour == behaviour], side)
                panel.set_title(behaviour)
            row[0].set_ylabel("change of its probability")
            row[0].set_xscale("symlog", linthresh=0.001)
        for panel, label in zip(grid[-1], _SIDES.values(), strict=True):
            panel.set_xlabel(label)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
        plt.close(figure)
    return figure


def reading(tables: Mapping[str, pd.DataFrame]) -> str:
    """Returns each effect at the step size that validation chooses for a small side effect.

    Args:
        tables: `frontier`.
    """
    table = tables["frontier"]
    parts = []
    for behaviour, rows in table.groupby("behaviour", sort=False):
        small = rows[rows.validation_kl <= _LIMIT]
        small = small.sort_values("validation_effect", ascending=False)
        best = small.groupby("method", sort=False).head(1)
        told = ", ".join(
            f"{row.method} {row.effect:+z.2f} [{row.effect_low:+z.2f}, {row.effect_high:+z.2f}] "
            f"(η = {row.relative:g}, KL {row.kl:.2f})"
            for row in best.itertuples()
        )
        without = [name for name in dict.fromkeys(rows.method) if name not in set(best.method)]
        parts.append(f"{behaviour}: {told}" + (f", {' and '.join(without)} none" * bool(without)))
    return (
        "At the step size with the greatest effect on validation questions among those with a KL "
        f"of at most {_LIMIT:g} nats on the facts for validation, the change of the behaviour's "
        f"probability on test questions is, for {'; for '.join(parts)} "
        "(95 % intervals over wordings)."
    )


def _frontier(panel: Axes, table: pd.DataFrame, side: str) -> None:
    for method, look in looks(list(dict.fromkeys(table.method))).items():
        rows = table[table.method == method].sort_values("relative")
        panel.errorbar(
            rows[side],
            rows.effect,
            xerr=[rows[side] - rows[f"{side}_low"], rows[f"{side}_high"] - rows[side]],
            yerr=[rows.effect - rows.effect_low, rows.effect_high - rows.effect],
            elinewidth=0.4,
            label=method,
            **look,
        )
    panel.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    panel.axvline(0, color="0.6", linewidth=0.8, zorder=0)


DRAWING = Drawing(
    "effect_and_side_effect",
    "Effect and side effect as the step grows",
    {
        "frontier": (
            *("behaviour", "method", "relative", "layers", "effect", "effect_low", "effect_high"),
            *("kl", "kl_low", "kl_high"),
            *("accuracy_change", "accuracy_change_low", "accuracy_change_high"),
            *("validation_effect", "validation_kl"),
        )
    },
    draw,
    reading,
)
