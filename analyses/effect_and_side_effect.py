"""What each method gains on a behaviour against what it costs elsewhere, as the step size grows.

`python -m analyses.effect_and_side_effect` takes two minutes on one core, with `--quick` less than
one; `analyses.layer_eta` reads the same sweep.
"""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportGeneralTypeIssues=false, reportIndexIssue=false

from dataclasses import dataclass

import pandas as pd

from analyses.fine_grid import FineGrid, over_questions
from analyses.script import script
from coldlens.figures.drawings import effect_and_side_effect
from coldlens.figures.record import Tables
from coldlens.sweep import SweepResult

_STEP = ["behaviour", "method", "relative"]
_FIT = ["behaviour", "method", "seed"]


@dataclass(frozen=True)
class EffectAndSideEffect(FineGrid):
    """Follow effect and side effect over step sizes, at the layer that validation chooses."""

    drawing = effect_and_side_effect.DRAWING

    def tables(self, result: SweepResult) -> Tables:
        """Returns a row a behaviour, method and step size, with intervals."""
        layers = chosen_layers(result.choices(self.budget))
        return {"frontier": frontier(self.measured(result), layers)}


def chosen_layers(choices: pd.DataFrame) -> pd.DataFrame:
    """Picks the layer of each method, behaviour and seed.

    Args:
        choices: What `SweepResult.choices` returned.

    Returns:
        Columns behaviour, method, seed and layer: the layer chosen within the budget, or without
        one where no cell is within it.
    """
    steered = choices[choices.layer.notna()].sort_values("guarded", ascending=False, kind="stable")
    return steered.groupby(_FIT, sort=False).head(1)[[*_FIT, "layer"]]


def frontier(rows: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """Measures each step size at one layer.

    Args:
        rows: What `measured` returned.
        layers: What `chosen_layers` returned.

    Returns:
        A row a behaviour, method and step size: the `layers` by seed; the `effect` on test
        questions, the KL (`kl`) and the `accuracy_change` on the unrelated questions kept for the
        test, each with a 95 % interval as in `over_questions`; and, to choose a step size by, the
        `validation_effect` and `validation_kl` on the questions for validation.
    """
    found = rows.merge(layers, on=[*_FIT, "layer"])
    test, unrelated = (found[found.split == split] for split in ("test", "capability_test"))
    named = layers.sort_values("seed").groupby(["behaviour", "method"]).layer
    table = found[_STEP].drop_duplicates()
    table = table.merge(named.agg(lambda one: " ".join(map(str, one))).rename("layers"),
                        on=["behaviour", "method"])  # fmt: skip
    for part, name in ((test, "effect"), (unrelated, "kl"), (unrelated, "accuracy_change")):
        table = table.merge(over_questions(part, _STEP, name), on=_STEP)
    for split, name in (("validation", "effect"), ("capability_validation", "kl")):
        means = found[found.split == split].groupby(_STEP)[name].mean()
        table = table.merge(means.rename(f"validation_{name}"), on=_STEP)
    return table


if __name__ == "__main__":
    script(EffectAndSideEffect)
