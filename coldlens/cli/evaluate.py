"""`coldlens evaluate`: what one direction gains on held-out questions, and what it costs."""

import time
from dataclasses import dataclass
from pathlib import Path

from coldlens.checks import at_least, finite
from coldlens.cli.inputs import Fitted, say
from coldlens.evaluation import evaluate
from coldlens.evaluation.evaluation import KIND
from coldlens.evaluation.planned import check_questions
from coldlens.files import check_replaceable
from coldlens.words import counted


@dataclass(frozen=True)
class Evaluate(Fitted):
    """Fit a direction on training examples, and measure it on held-out questions.

    To choose layer and eta on questions of their own, use sweep.

    Attributes:
        out: Folder for the measurements, their summary and the fitted direction.
        eta: Step size.
        test: How many questions of the test split to measure on; all if there are fewer.
        batch_size: Questions a batch: memory and speed, not results.
    """

    out: Path = Path("out/evaluate")
    eta: float = 1.0
    test: int = 100
    batch_size: int = 16

    def run(self) -> int:
        """Returns 0 after measuring, writing the tables and printing the summary."""
        started = time.perf_counter()
        check_replaceable(self.out, KIND.folder)
        _ = self.chosen_method
        finite("eta", self.eta)
        at_least(1, "batch_size", self.batch_size)
        questions = self.drawn("test", self.test)
        model, examples = self.load()
        check_questions(model, questions, self.positions)
        say(f"{self.examples}: {counted(len(questions), 'question')} from {questions.source}")
        steering, layer = self.fit(model, examples)
        evaluation = evaluate(
            model,
            questions,
            steering,
            layer,
            self.eta,
            self.positions,
            batch_size=self.batch_size,
            progress=True,
        )
        evaluation.save(self.out)
        steering.save(self.out / "steering.safetensors")
        say(
            f"\n{steering.provenance.method} at layer {layer}, eta {self.eta:g}, positions "
            f"{self.positions}:\n\n"
            f"{evaluation.summary.to_string(float_format='{:.4f}'.format, na_rep='–')}\n"
        )
        say(f"Tables and steering in {self.out} ({time.perf_counter() - started:.1f} s)")
        return 0
