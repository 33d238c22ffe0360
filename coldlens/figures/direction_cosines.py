"""Every method's direction against the exact one-step displacement, and against each other."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import ClassVar

import pandas as pd
from transformer_lens.model_bridge import TransformerBridge

from coldlens.compare.compare import compare_directions
from coldlens.compare.report import DirectionReport
from coldlens.examples.example import ExampleSet
from coldlens.figures.analysis import ModelAnalysis
from coldlens.figures.drawings import direction_cosines
from coldlens.figures.record import Tables

_SEEDED = r"\(seed=\d+\)$"
"""The random control is one method, whatever its seed."""


@dataclass(frozen=True)
class DirectionCosines(ModelAnalysis):
    """Compare the directions of every method at every layer, on several draws of examples.

    Attributes:
        n: Examples of a draw; at most two thirds of those there are, so that draws differ.
        draws: How many draws; they give the intervals.
    """

    n: int = 50
    draws: int = 5

    drawing = direction_cosines.DRAWING
    QUICK: ClassVar = {"n": 4, "draws": 2}

    def measured(self, model: TransformerBridge, examples: ExampleSet) -> Tables:
        """Returns `directions`, a row a draw, layer and method, and `cosines` between methods."""
        size = min(self.n, max(1, 2 * len(examples) // 3))
        directions, cosines = [], []
        for draw in range(self.draws):
            seed = self.seed + draw
            report = compare_directions(model, examples.sample(size, seed), seed=seed)
            directions.append(report.table.assign(draw=draw))
            cosines += [{"draw": draw, **row} for row in _pairs(report)]
        tables = {"directions": pd.concat(directions), "cosines": pd.DataFrame(cosines)}
        return {name: table.replace(_SEEDED, "", regex=True) for name, table in tables.items()}


def _pairs(report: DirectionReport) -> Iterator[dict[str, object]]:
    for layer in report.layers:
        square = report.cosines(layer)
        for method, other in combinations_with_replacement(report.methods, 2):
            value = float(square.loc[method, other])  # pyright: ignore[reportArgumentType]
            yield {"layer": layer, "method": method, "other": other, "cosine": value}
