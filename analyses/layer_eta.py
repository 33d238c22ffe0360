"""Where and how strongly to steer: the score of every layer and step size on validation questions.

`python -m analyses.layer_eta` takes two minutes on one core, with `--quick` less than one;
`analyses.effect_and_side_effect` reads the same sweep.
"""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportGeneralTypeIssues=false, reportIndexIssue=false

from dataclasses import dataclass

import pandas as pd

from analyses.fine_grid import FineGrid, over_questions
from analyses.script import script
from coldlens.figures.drawings import layer_eta
from coldlens.figures.record import Tables
from coldlens.sweep import SweepResult

_CELL = ["behaviour", "method", "layer", "relative"]


@dataclass(frozen=True)
class LayerEta(FineGrid):
    """Measure every layer and step size, on the questions that choose among them."""

    drawing = layer_eta.DRAWING

    def tables(self, result: SweepResult) -> Tables:
        """Returns a row a behaviour, method, layer and step size, with intervals."""
        return {"grid": grid(self.measured(result), self.budget)}


def grid(rows: pd.DataFrame, budget: float) -> pd.DataFrame:
    """Averages each cell over seeds and questions.

    Args:
        rows: What `measured` returned.
        budget: Accuracy on the unrelated questions that may be lost.

    Returns:
        A row a behaviour, method, layer and step size: the `effect` on validation questions and
        the `accuracy_change` on the unrelated ones for validation, with 95 % intervals as in
        `over_questions`, and whether that is `within` the budget.
    """
    asked = rows[rows.split == "validation"]
    unrelated = rows[rows.split == "capability_validation"]
    effect = over_questions(asked, _CELL, "effect")
    found = effect.join(over_questions(unrelated, _CELL, "accuracy_change")).reset_index()
    return found.assign(within=found.accuracy_change >= -budget - 1e-9)


if __name__ == "__main__":
    script(LayerEta)
