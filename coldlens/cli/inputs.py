"""What every command reads: a model, examples, and where to write."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from transformer_lens.model_bridge import TransformerBridge

from coldlens.datasets import load_examples
from coldlens.errors import DataError
from coldlens.examples.example import ExampleSet
from coldlens.losses import DPO, CrossEntropy, Loss, NegativeCrossEntropy, OptionDistribution
from coldlens.models.load import load_model

LossName = Literal["dpo", "cross-entropy", "negative-cross-entropy", "option-distribution"]
_LOSSES: dict[str, Loss] = {
    "dpo": DPO(),
    "cross-entropy": CrossEntropy(),
    "negative-cross-entropy": NegativeCrossEntropy(),
    "option-distribution": OptionDistribution(),
}


@dataclass(frozen=True)
class Inputs:
    """A model and examples of a behaviour.

    Attributes:
        model: "demo", a folder in Hugging Face layout, or a Hugging Face id.
        examples: "demo/BEHAVIOUR", "demo/groups/GROUP", "caa/BEHAVIOUR", "bipo/BEHAVIOUR",
            "opinions_qa/ATTRIBUTE/GROUP", "axbench/CONCEPT", or a .json, .jsonl or .csv file.
        prompt_format: Prompt format of the public data sets.
        data: Folder that holds caa/, bipo/, …; by default COLDLENS_DATA, else they are fetched.
        n: How many examples to draw; all if there are fewer.
        seed: Seed of the draw of examples, and of everything else that is random.
        loss: Loss of the gradient methods; by default DPO on paired data, cross-entropy on
            positive-only data, and the distribution's own on a group's answers.
    """

    model: str = "demo"
    examples: str = "demo/sycophancy"
    prompt_format: Literal["question", "input", "chat", "plain"] | None = None
    data: Path | None = None
    n: int = 50
    seed: int = 0
    loss: LossName | None = None

    def load(self) -> tuple[TransformerBridge, ExampleSet]:
        """Returns model and examples, and says what they are."""
        examples = self._drawn()
        model = load_model(self.model)
        say(f"{self.model}: {len(model.blocks)} layers, d_model {model.cfg.d_model}")
        say(f"{self.examples}: {len(examples)} examples from {examples.source}")
        return model, examples

    @property
    def chosen_loss(self) -> Loss | None:
        """The loss, or None for the default."""
        return None if self.loss is None else _LOSSES[self.loss]

    def _drawn(self) -> ExampleSet:
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


def read_lines(path: Path) -> list[str]:
    """Reads the lines of a text file that are not blank.

    Args:
        path: The file.

    Returns:
        The lines.

    Raises:
        DataError: If it cannot be read.
    """
    try:
        return [line for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            expected="a text file with one prompt a line",
            found=f"{path}: {error}",
            fix="Check the path and the encoding (UTF-8)",
        ) from error


def say(text: str) -> None:
    """Prints a line at once.

    Args:
        text: The line.
    """
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
