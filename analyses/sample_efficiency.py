"""What methods gain from 2 to 200 examples of the bundled model's behaviours.

`python -m analyses.sample_efficiency` takes an hour on one core, with `--quick` less than a minute.
"""

from dataclasses import dataclass
from typing import ClassVar

import pandas as pd

from analyses.script import script
from analyses.swept import Swept
from coldlens.figures.drawings import sample_efficiency
from coldlens.figures.record import Tables
from coldlens.sweep import PRESETS, SweepResult

_CURVE = PRESETS["curve"]


@dataclass(frozen=True)
class SampleEfficiency(Swept):
    """Follow the score on test questions as the number of examples grows."""

    methods: tuple[str, ...] = _CURVE["methods"]
    sizes: tuple[int, ...] = _CURVE["sizes"]
    seeds: tuple[int, ...] = _CURVE["seeds"]

    raw = "curve"
    drawing = sample_efficiency.DRAWING
    QUICK: ClassVar = {
        "behaviours": ("refusal", "sycophancy"),
        "methods": ("DiffMean", "InContext", "ColdKernel", "ColdFD", "Random"),
        "etas": (0.3,),
        "sizes": (2, 5),
        "seeds": (0, 1),
        "validation": 4,
        "test": 6,
        "facts": 8,
    }

    def tables(self, result: SweepResult) -> Tables:
        """Returns the means over behaviours with intervals by size, and those of each behaviour."""
        return {"curve": self._curve(result), "scores": result.scores(self.budget)}

    def _curve(self, result: SweepResult) -> pd.DataFrame:
        seeds = result.sample_efficiency(self.budget)
        ends = [
            result.main_table(size, budget=self.budget)[["low", "high"]].assign(size=size)
            for size in self.sizes
        ]
        found = pd.concat(ends).reset_index()
        # The unsteered model has no examples: its one row stands for all sizes.
        found["size"] = found["size"].where(found.method != "base", 0)
        return seeds.merge(found.drop_duplicates(["method", "setting", "size"]))


if __name__ == "__main__":
    script(SampleEfficiency)
