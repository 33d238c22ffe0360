"""`coldlens figures`: every figure from saved tables, and the tables of a model first if asked."""

import time
from dataclasses import dataclass
from pathlib import Path

from coldlens.cli.inputs import say
from coldlens.datasets import load_examples
from coldlens.errors import ArgumentError, ExampleError
from coldlens.figures import MODEL_ANALYSES, check_index, draw_figures
from coldlens.models.load import load_model


@dataclass(frozen=True)
class Figures:
    """Draw every figure from saved tables; with --examples, measure a model on them first.

    Attributes:
        model: "demo", a folder in Hugging Face layout, or a Hugging Face id.
        examples: A data set by name, such as demo/refusal, or a .json, .jsonl or .csv file; without
            it nothing is measured.
        out: Folder for the figures, with an index page.
        tables: Folder of the tables; by default `tables` in the folder of the figures.
        seed: Seed of the draw of examples, and of everything else that is random.
        quick: Small settings, in seconds.
        force: Measure again although the wanted tables are there.
    """

    model: str = "demo"
    examples: str | None = None
    out: Path = Path("figures")
    tables: Path | None = None
    seed: int = 0
    quick: bool = False
    force: bool = False

    def run(self) -> int:
        """Returns 0 after measuring, if asked, and drawing.

        Raises:
            ArgumentError: If there is a model to measure and no examples.
        """
        started = time.perf_counter()
        if self.examples is None and self.model != Figures.model:
            raise ArgumentError(
                expected="--examples beside --model",
                found=f"--model {self.model} alone",
                fix="Name examples to measure the model, or leave both out to draw saved tables",
            )
        check_index(self.out)
        tables = self.out / "tables" if self.tables is None else self.tables
        if self.examples is not None:
            self._measure(self.examples, tables)
        paths = draw_figures(tables, self.out)
        say(f"{len(paths)} files in {self.out} ({time.perf_counter() - started:.1f} s)")
        return 0

    def _measure(self, name: str, tables: Path) -> None:
        """Makes the tables that are wanted.

        Raises:
            ExampleError: If there are too few examples for the checks.
        """
        examples = load_examples(name)
        if len(examples) < 2:
            raise ExampleError(
                expected="at least two examples", found=f"{len(examples)}", fix="Give more"
            )
        model = load_model(self.model)
        for analysis in MODEL_ANALYSES:
            settings = analysis(out=tables, quick=self.quick, force=self.force, seed=self.seed)
            settings.on(model, examples)
