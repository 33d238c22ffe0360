"""The main table: every method on the bundled model's seven behaviours.

`python -m analyses.behaviours` takes an hour on one core, with `--quick` less than a minute.
"""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportGeneralTypeIssues=false, reportIndexIssue=false

from dataclasses import dataclass
from typing import ClassVar

from analyses.script import script
from analyses.swept import Swept
from coldlens.figures.drawings import behaviours
from coldlens.figures.record import Tables
from coldlens.sweep import PRESETS, SweepResult

_PAPER = PRESETS["paper"]


@dataclass(frozen=True)
class Behaviours(Swept):
    """Compare methods on every behaviour, with pairs and with positive examples only."""

    methods: tuple[str, ...] = _PAPER["methods"]
    sizes: tuple[int, ...] = _PAPER["sizes"]
    seeds: tuple[int, ...] = _PAPER["seeds"]

    raw = "paper"
    losses = _PAPER["losses"]
    drawing = behaviours.DRAWING
    QUICK: ClassVar = {
        "behaviours": ("refusal", "sycophancy"),
        "methods": ("DiffMean", "ColdKernel", "ColdFD", "Random"),
        "etas": (0.3,),
        "sizes": (5,),
        "seeds": (0, 1),
        "validation": 4,
        "test": 6,
        "facts": 8,
    }

    def tables(self, result: SweepResult) -> Tables:
        """Returns main tables, differences from COLD-FD, scores by behaviour, and the choices.

        Where COLD-FD is not among the methods, the differences are from the unsteered model.
        """
        choices = result.choices(self.budget)
        asked = {"budget": self.budget, "by": "correct"}
        accuracy = result.main_table(**asked)
        to = ("paired", "ColdFD") if ("paired", "ColdFD") in accuracy.index else ("none", "base")
        return {
            "main": result.main_table(budget=self.budget).reset_index(),
            "accuracy": accuracy.reset_index(),
            "differences": result.differences(to, **asked).reset_index().assign(to=to[1]),
            "scores": result.scores(self.budget),
            "choices": choices[choices.guarded].drop(columns="guarded"),
        }


if __name__ == "__main__":
    script(Behaviours)
