"""What each method gains on a behaviour against what it costs elsewhere, as the step size grows.

`python -m analyses.effect_and_side_effect` takes five minutes on one core, with `--quick` less than
one; `analyses.layer_eta` reads the same sweep.
"""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportGeneralTypeIssues=false, reportIndexIssue=false

from dataclasses import dataclass

import pandas as pd

from analyses.fine_grid import FineGrid, beside_unsteered, over_questions
from analyses.script import script
from coldlens.figures.drawings import effect_and_side_effect
from coldlens.figures.record import Tables
from coldlens.sweep import SweepResult

_STEP = ["behaviour", "method", "relative"]


@dataclass(frozen=True)
class EffectAndSideEffect(FineGrid):
    """Follow effect and side effect over step sizes, each at the layer that validation chooses."""

    drawing = effect_and_side_effect.DRAWING

    def tables(self, result: SweepResult) -> Tables:
        """Returns a row a behaviour, method and step size, with intervals over test questions."""
        return {"frontier": frontier(beside_unsteered(result))}


def frontier(rows: pd.DataFrame) -> pd.DataFrame:
    """Measures each step size at the layer with the best mean probability on validation.

    Args:
        rows: What `beside_unsteered` returned.

    Returns:
        A row a behaviour, method and step size: `layers` by seed; the `effect` on test questions,
        the KL (`kl`) and the `accuracy_change` on the unrelated questions kept for the test, each
        with a 95 % interval over questions.
    """
    one = [*_STEP, "seed"]
    scores = rows[rows.split == "validation"].groupby([*one, "layer"], sort=False).effect.mean()
    scores = scores.dropna().reset_index("layer").sort_values("layer", kind="stable")
    best = scores.sort_values("effect", ascending=False, kind="stable").groupby(one).head(1)
    chosen = rows.merge(best[["layer"]].reset_index(), on=[*one, "layer"])
    test, unrelated = (chosen[chosen.split == split] for split in ("test", "capability_test"))
    layers = best.sort_index().groupby(_STEP).layer.agg(lambda found: " ".join(map(str, found)))
    order = rows[_STEP].drop_duplicates()
    parts = [
        layers.rename("layers"),
        over_questions(test, _STEP, "effect"),
        over_questions(unrelated, _STEP, "kl"),
        over_questions(unrelated, _STEP, "accuracy_change"),
    ]
    for part in parts:
        order = order.merge(part.reset_index(), on=_STEP)
    return order


if __name__ == "__main__":
    script(EffectAndSideEffect)
