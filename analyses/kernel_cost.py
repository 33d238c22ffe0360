"""What exact kernel blocks cost: structured derivatives, dense Jacobians, and products.

`python -m analyses.kernel_cost --out docs/results/kernel_cost` takes about ten minutes on one core,
with `--quick` less than one.
"""

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd
import tyro

from analyses.kernel_figure import plot_kernel_cost
from analyses.kernel_methods import METHODS, Blocks, Case, alone
from analyses.kernel_tables import CENTRE, GPT2, LONG, REFERENCE, along, bounds, growth
from analyses.measure import circumstances, in_fresh_process, interleaved, one_thread
from coldlens.checks import above_zero
from coldlens.cli.inputs import say
from coldlens.files import check_replaceable
from coldlens.results import ResultKind, saved

FIGURE = "kernel_cost.png"
KIND = ResultKind(
    "analyses.kernel_cost",
    "coldlens kernel cost 1",
    {
        "cost": ("d", "layers", "tokens", "examples", "method", "seconds", "peak_mb"),
        "growth": ("axis", "method", "seconds_exponent", "peak_mb_exponent"),
        "bounds": ("claim", "measured", "relation", "limit", "holds"),
    },
    (FIGURE,),
)
AXES = {
    "d": (32, 64, 96, 128),
    "layers": (2, 4, 8),
    "tokens": (8, 16, 32, 64, 96),
    "examples": (2, 4, 8),
}
"""One size at a time is changed from the centre."""
QUICK = {"d": (32, 64), "layers": (2, 4), "tokens": (16, 96), "examples": (2, 4)}


@dataclass(frozen=True)
class KernelCost:
    """Measure what exact kernel blocks of the top layer cost, for all pairs of N sequences.

    Attributes:
        out: Folder for tables and figure.
        quick: A small grid, in less than a minute.
        gpt2: Also a model of the size of GPT-2, by structured derivatives alone: minutes more.
        repetitions: How often every method is timed, in turns.
        rows: Rows of each block computed by products, whose time is then multiplied by d / rows.
    """

    out: Path = Path("out/kernel_cost")
    quick: bool = False
    gpt2: bool = False
    repetitions: int = 5
    rows: int = 4

    def run(self) -> dict[str, pd.DataFrame]:
        """Returns the tables `cost`, `growth` and `bounds` after writing them and a figure."""
        above_zero("repetitions", self.repetitions)
        above_zero("rows", self.rows)
        check_replaceable(self.out, KIND.folder)
        axes = QUICK if self.quick else AXES
        cases = [replace(CENTRE, **{axis: size}) for axis in axes for size in axes[axis]]
        cases += [] if self.quick else [LONG, REFERENCE]
        parts = []
        for case in dict.fromkeys(cases):
            parts.append(self._measured(case))
            say(_shown(parts[-1]))
        if self.gpt2:
            parts.append(_structured_alone(GPT2))
        cost = pd.concat(parts, ignore_index=True)
        lines = along(cost, list(axes))
        tables = {"cost": cost, "growth": growth(lines), "bounds": bounds(cost)}
        settings = {"quick": self.quick, "repetitions": self.repetitions, "rows": self.rows}
        with saved(self.out, KIND, tables, {**circumstances(), "settings": settings}) as folder:
            plot_kernel_cost(lines).savefig(folder / FIGURE)
        say(f"\n{_shown(tables['growth'])}\n\n{_shown(tables['bounds'])}")
        return tables

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


def _shown(table: pd.DataFrame) -> str:
    return table.to_string(index=False, float_format="{:.3g}".format)


if __name__ == "__main__":
    tyro.cli(KernelCost).run()
