"""`coldlens compare`: every direction against the exact one-step displacement."""

import math
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from coldlens.cli.inputs import Inputs, read_lines, say
from coldlens.compare.compare import compare_directions
from coldlens.compare.report import KIND, DirectionReport
from coldlens.files import check_replaceable

_SHOWN_LAYERS = 8
_SHOWN_TOKENS = 5


@dataclass(frozen=True)
class Compare(Inputs):
    """Compare the directions of every method with the exact one-step displacement.

    Attributes:
        layers: 0-based blocks; all by default.
        out: Folder for the report: tables, vectors, figure.
        methods: Methods by name, such as DiffMean ColdFD ColdJVP; all by default.
        prompts: A text file with one evaluation prompt a line; by default the examples' prompts.
        batch_size: Examples a batch: memory and speed, not results.
    """

    layers: tuple[int, ...] | None = None
    out: Path = Path("out/compare")
    methods: tuple[str, ...] | None = None
    prompts: Path | None = None
    batch_size: int = 8

    def run(self) -> int:
        """Returns 0 after comparing, writing the report and printing the table."""
        started = time.perf_counter()
        check_replaceable(self.out, KIND.folder)
        prompts = None if self.prompts is None else read_lines(self.prompts)
        model, examples = self.load()
        report = compare_directions(
            model,
            examples,
            methods=self.methods,
            layers=self.layers,
            loss=self.chosen_loss,
            prompts=prompts,
            seed=self.seed,
            batch_size=self.batch_size,
            progress=True,
        )
        report.save(self.out)
        report.plot().savefig(self.out / "directions.png")
        say(_text(report))
        say(
            f"Report, vectors and directions.png in {self.out} "
            f"({time.perf_counter() - started:.1f} s)"
        )
        return 0


def _number(value: float, form: str) -> str:
    return "–" if math.isnan(value) else form.format(value)


def _text(report: DirectionReport) -> str:
    layers = report.layers
    if len(layers) > _SHOWN_LAYERS:
        step = (len(layers) - 1) / (_SHOWN_LAYERS - 1)
        layers = sorted({layers[round(place * step)] for place in range(_SHOWN_LAYERS)})
    cosines = report.summary()[layers].map(lambda value: _number(value, "{:+.3f}"))
    last = report.table[report.table.layer == layers[-1]].set_index("method")
    cosines.columns = pd.Index([f"layer {layer}" for layer in layers])
    cosines["norm"] = last.norm.map(lambda value: _number(value, "{:.3g}"))
    cosines["/ residual"] = last.relative_norm.map(lambda value: _number(value, "{:.3g}"))
    cosines["coherence"] = last.coherence.map(lambda value: _number(value, "{:+.2f}"))
    method = "ColdJVP" if "ColdJVP" in report.methods else report.methods[0]
    tokens = report.top_tokens(layers[-1], method, _SHOWN_TOKENS)
    missing = (
        "" if report.summary().notna().any(axis=None) else " (ColdJVP is not among the methods)"
    )
    return (
        f"\nCosine to the exact one-step displacement (ColdJVP){missing}, by layer; "
        f"norm, norm relative to the residual stream and coherence at layer {layers[-1]}:\n\n"
        f"{cosines.rename_axis(None).to_string()}\n\n"
        f"{method} at layer {layers[-1]} promotes {' '.join(map(repr, tokens.promoted))}, "
        f"suppresses {' '.join(map(repr, tokens.suppressed))}\n"
    )
