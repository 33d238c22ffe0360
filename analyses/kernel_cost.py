"""What exact kernel blocks cost: structured derivatives, Jacobians, and products.

`python -m analyses.kernel_cost` takes about ten minutes on one core, with `--quick` less than one.
"""

from dataclasses import asdict, dataclass, replace
from functools import partial

import pandas as pd

from analyses.kernel_methods import METHODS, Blocks, Case, alone
from analyses.kernel_tables import CENTRE, GPT2, LONG, REFERENCE, along, bounds, growth
from analyses.measure import in_fresh_process, interleaved, machine, one_thread
from analyses.script import script
from coldlens.checks import above_zero
from coldlens.figures.analysis import Analysis
from coldlens.figures.drawings import kernel_cost
from coldlens.figures.record import Tables

AXES = {
    "d": (32, 64, 96, 128),
    "layers": (2, 4, 8),
    "tokens": (8, 16, 32, 64, 96),
    "examples": (2, 4, 8),
}
"""One size at a time is changed from the centre."""
QUICK = {"d": (32, 64), "layers": (2, 4), "tokens": (16, 96), "examples": (2, 4)}


@dataclass(frozen=True)
class KernelCost(Analysis):
    """Measure what exact kernel blocks of the top layer cost, for all pairs of N sequences.

    Attributes:
        gpt2: Also a model of the size of GPT-2, by structured derivatives alone: minutes more.
        repetitions: How often every method is timed, in turns.
        rows: Rows of each block computed by products, whose time is then multiplied by d / rows.
    """

    gpt2: bool = False
    repetitions: int = 5
    rows: int = 4

    drawing = kernel_cost.DRAWING

    def run(self) -> Tables:
        """Returns the tables by name after writing them, or those that are there."""
        above_zero("repetitions", self.repetitions)
        above_zero("rows", self.rows)
        return self.made("random", {}, self._tables, lambda: {"machine": machine()})

    def _tables(self) -> Tables:
        axes = QUICK if self.quick else AXES
        cases = [replace(CENTRE, **{axis: size}) for axis in axes for size in axes[axis]]
        cases += [] if self.quick else [LONG, REFERENCE]
        parts = [self._measured(case) for case in dict.fromkeys(cases)]
        if self.gpt2:
            parts.append(_structured_alone(GPT2))
        cost = pd.concat(parts, ignore_index=True)
        lines = along(cost, list(axes))
        return {"cost": cost, "lines": lines, "growth": growth(lines), "bounds": bounds(cost)}

    def _measured(self, case: Case) -> pd.DataFrame:
        """Returns a row a method."""
        model, sequences = case.model(), case.sequences()
        rows = dict.fromkeys(METHODS, case.d) | {"products": min(self.rows, case.d)}
        found: dict[str, Blocks] = {}

        def compute(name: str) -> None:
            found[name] = METHODS[name](model, sequences, rows[name])

        with one_thread():
            calls = {name: partial(compute, name) for name in METHODS}
            seconds = interleaved(calls, self.repetitions)
        seconds *= [case.d / rows[name] for name in METHODS]
        ratios = seconds.div(seconds["structured"], axis=0)
        peaks = [in_fresh_process(alone, case, name, rows[name]) for name in METHODS]
        memory = pd.DataFrame(peaks, index=list(METHODS))
        return pd.DataFrame(
            {
                **asdict(case),
                "method": memory.index,
                "seconds": seconds.median(),
                "ratio_to_structured": ratios.median(),
                "ratio_low": ratios.min(),
                "ratio_high": ratios.max(),
                "peak_mb": memory["peak_mb"],
                "peak_ratio_to_structured": memory["peak_mb"] / peaks[0]["peak_mb"],
                "process_mb": memory["process_mb"],
                "rows": rows.values(),
                "difference": [difference(found[name], found["structured"]) for name in METHODS],
            }
        )


def difference(found: Blocks, whole: Blocks) -> float:
    """Compares rows of blocks with the blocks of another method.

    Args:
        found: The first rows of each block.
        whole: All rows.

    Returns:
        The greatest relative error in the Frobenius norm over pairs.
    """
    return max(
        ((rows - whole[pair][: len(rows)]).norm() / whole[pair][: len(rows)].norm()).item()
        for pair, rows in found.items()
    )


def _structured_alone(case: Case) -> pd.DataFrame:
    measured = in_fresh_process(alone, case, "structured", case.d)
    return pd.DataFrame([{**asdict(case), "method": "structured", **measured, "rows": case.d}])


if __name__ == "__main__":
    script(KernelCost)
