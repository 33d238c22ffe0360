"""The command line: `coldlens compare`, with the names and defaults of the Python interface."""

import logging
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
import tyro

from coldlens.compare.compare import compare_directions
from coldlens.compare.report import KIND, DirectionReport
from coldlens.datasets import load_examples
from coldlens.errors import ColdlensError, DataError
from coldlens.examples.example import ExampleSet
from coldlens.files import check_replaceable
from coldlens.losses import DPO, CrossEntropy, Loss, NegativeCrossEntropy
from coldlens.models.load import load_model

_LOSSES: dict[str, Loss] = {
    "dpo": DPO(),
    "cross-entropy": CrossEntropy(),
    "negative-cross-entropy": NegativeCrossEntropy(),
}
_SHOWN_LAYERS = 8
_SHOWN_TOKENS = 5


@dataclass(frozen=True)
class Compare:
    """Compare the directions of every method with the exact one-step displacement.

    Attributes:
        model: "demo", a folder in Hugging Face layout, or a Hugging Face id.
        examples: "demo/BEHAVIOUR", "caa/BEHAVIOUR", "bipo/BEHAVIOUR", or a .jsonl or .csv file.
        out: Folder for the report: tables, vectors, figure.
        n: How many examples to draw; all if there are fewer.
        methods: Methods by name, such as DiffMean ColdFD ColdJVP; all by default.
        layers: 0-based blocks; all by default.
        loss: Loss of the gradient methods; by default DPO on paired data, else cross-entropy.
        prompts: A text file with one evaluation prompt a line; by default the examples' prompts.
        prompt_format: Prompt format of the public data sets.
        data: Folder that holds caa/ and bipo/; by default COLDLENS_DATA, else they are fetched.
        seed: Seed of the draw of examples and of the random control.
        batch_size: Examples a batch: memory and speed, not results.
    """

    model: str = "demo"
    examples: str = "demo/sycophancy"
    out: Path = Path("out/compare")
    n: int = 50
    methods: tuple[str, ...] | None = None
    layers: tuple[int, ...] | None = None
    loss: Literal["dpo", "cross-entropy", "negative-cross-entropy"] | None = None
    prompts: Path | None = None
    prompt_format: Literal["question", "input", "chat", "plain"] | None = None
    data: Path | None = None
    seed: int = 0
    batch_size: int = 8

    def run(self) -> None:
        """Runs the comparison, writes the report and prints the table."""
        started = time.perf_counter()
        check_replaceable(self.out, KIND)
        examples = self._examples()
        prompts = None if self.prompts is None else _lines(self.prompts)
        model = load_model(self.model)
        _say(f"{self.model}: {len(model.blocks)} layers, d_model {model.cfg.d_model}")
        _say(f"{self.examples}: {len(examples)} examples from {examples.source}")
        report = compare_directions(
            model,
            examples,
            methods=self.methods,
            layers=self.layers,
            loss=None if self.loss is None else _LOSSES[self.loss],
            prompts=prompts,
            seed=self.seed,
            batch_size=self.batch_size,
            progress=True,
        )
        report.save(self.out)
        report.plot().savefig(self.out / "directions.png")
        _say(_text(report))
        _say(
            f"Report, vectors and directions.png in {self.out} "
            f"({time.perf_counter() - started:.1f} s)"
        )

    def _examples(self) -> ExampleSet:
        def load(n: int | None) -> ExampleSet:
            return load_examples(
                self.examples,
                n=n,
                seed=self.seed,
                prompt_format=self.prompt_format,
                folder=self.data,
            )

        found = load(None)
        return found if len(found) <= self.n else load(self.n)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: The arguments; by default those of the process.

    Returns:
        The exit status: 0, 2 after an error of the input, or 130 after an interruption.
    """
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("coldlens").setLevel(logging.INFO)
    command = tyro.extras.subcommand_cli_from_dict({"compare": Compare}, args=arguments)
    try:
        command.run()
    except ColdlensError as error:
        sys.stderr.write(f"coldlens: {type(error).__name__}: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("coldlens: interrupted; an earlier result is as it was\n")
        return 130
    return 0


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            expected="a text file with one prompt a line",
            found=f"{path}: {error}",
            fix="Check the path and the encoding (UTF-8)",
        ) from error


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


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
