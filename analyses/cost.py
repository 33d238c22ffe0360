"""What each method costs: time and memory against model size, examples and tokens.

`python -m analyses.cost` takes about ten minutes on one core, with `--quick` seconds.
"""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportArgumentType=false

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pandas as pd

from analyses.cost_measure import measure
from analyses.kernel_methods import Case
from analyses.measure import machine
from analyses.script import script
from coldlens.checks import above_zero
from coldlens.figures.analysis import Analysis, chosen
from coldlens.figures.drawings import cost
from coldlens.figures.record import Tables

CENTRE = Case(d=128, layers=4, tokens=32, examples=10)


@dataclass(frozen=True)
class Cost(Analysis):
    """Measure what fitting each method costs, and its displacement of one new input.

    Models are Llamas with random weights. One size at a time is changed from d = 128, 4 layers, 32
    tokens and 10 examples (the smallest of each with `quick`).

    Attributes:
        widths: Widths d; the model grows with them.
        tokens: Tokens of every sequence, prompt and completion.
        pairs: Numbers of examples.
        repetitions: How often every method is timed, in turns.
    """

    widths: tuple[int, ...] = (64, 128, 256, 384)
    tokens: tuple[int, ...] = (16, 32, 64, 128)
    pairs: tuple[int, ...] = (5, 10, 20, 40)
    repetitions: int = 3

    drawing = cost.DRAWING
    QUICK: ClassVar = {"widths": (32, 64), "tokens": (8, 16), "pairs": (2, 4), "repetitions": 1}

    def run(self) -> Tables:
        """Returns the tables by name after writing them, or those that are there."""
        above_zero("repetitions", self.repetitions)
        used = chosen(self)
        return used.made("random", {}, used._measured, lambda: {"machine": machine()})

    def _measured(self) -> Tables:
        axes = {"d": self.widths, "tokens": self.tokens, "examples": self.pairs}
        centre = CENTRE
        if self.quick:
            centre = replace(CENTRE, layers=1, **{axis: sizes[0] for axis, sizes in axes.items()})
        cases = {
            (axis, size): replace(centre, **{axis: size})
            for axis, sizes in axes.items()
            for size in sizes
        }
        measured = {case: measure(case, self.repetitions) for case in dict.fromkeys(cases.values())}
        found = pd.concat(
            [measured[case].assign(axis=axis) for (axis, _), case in cases.items()],
            ignore_index=True,
        )
        return {"cost": found, "growth": growth(found)}


def growth(found: pd.DataFrame) -> pd.DataFrame:
    """Fits cost = c · sizeᵅ along every axis, by least squares on logarithms.

    Args:
        found: The table `cost`.

    Returns:
        A row an axis, method and measure: α and its standard error over points, nan with two sizes.
    """
    rows = []
    for axis, method in found[["axis", "method"]].drop_duplicates().itertuples(index=False):
        part = found[(found["axis"] == axis) & (found.method == method)]
        size = "parameters" if axis == "d" else axis
        for measured in cost.MEASURES:
            middle = part.groupby(size)[measured].median()
            exponent, error = power_law(middle)
            rows.append(
                {
                    "axis": axis,
                    "method": method,
                    "measure": measured,
                    "exponent": exponent,
                    "error": error,
                }
            )
    return pd.DataFrame(rows)


def power_law(values: pd.Series) -> tuple[float, float]:
    """Fits a power law.

    Args:
        values: Positive values by size.

    Returns:
        The exponent and its standard error.
    """
    x, y = np.log(values.index.to_numpy(dtype=float)), np.log(values.to_numpy(dtype=float))
    slope, offset = np.polyfit(x, y, 1)
    spread = ((x - x.mean()) ** 2).sum()
    left = ((y - slope * x - offset) ** 2).sum()
    error = np.sqrt(left / (len(x) - 2) / spread) if len(x) > 2 else np.nan
    return float(slope), float(error)


if __name__ == "__main__":
    script(Cost)
