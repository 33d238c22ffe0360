"""What commands share: where model and examples come from, and a direction fitted on them."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from transformer_lens.model_bridge import TransformerBridge

from coldlens.datasets import load_examples
from coldlens.directions import METHODS, Method
from coldlens.errors import ArgumentError, DataError
from coldlens.examples.example import ExampleSet
from coldlens.losses import DPO, CrossEntropy, Loss, NegativeCrossEntropy, OptionDistribution
from coldlens.models.load import load_model
from coldlens.steering.steering import Steering
from coldlens.words import counted

LossName = Literal["dpo", "cross-entropy", "negative-cross-entropy", "option-distribution"]
_LOSSES: dict[str, Loss] = {
    "dpo": DPO(),
    "cross-entropy": CrossEntropy(),
    "negative-cross-entropy": NegativeCrossEntropy(),
    "option-distribution": OptionDistribution(),
}


@dataclass(frozen=True)
class Source:
    """A model, and how data sets are found.

    Attributes:
        model: "demo", a folder in Hugging Face layout, or a Hugging Face id.
        prompt_format: Prompt format of the public data sets.
        data: Folder that holds caa/, bipo/, …; by default COLDLENS_DATA, else they are fetched.
    """

    model: str = "demo"
    prompt_format: Literal["question", "input", "chat", "plain"] | None = None
    data: Path | None = None


@dataclass(frozen=True)
class Inputs(Source):
    """A model and examples of a behaviour.

    Attributes:
        examples: "demo/BEHAVIOUR", "demo/groups/GROUP", "caa/BEHAVIOUR", "bipo/BEHAVIOUR",
            "opinions_qa/ATTRIBUTE/GROUP", "axbench/CONCEPT", or a .json, .jsonl or .csv file.
        n: How many examples to draw; all if there are fewer.
        seed: Seed of the draw of examples, and of everything else that is random.
        loss: Loss of the gradient methods; by default DPO on paired data, cross-entropy on
            positive-only data, and the distribution's own on a group's answers.
    """

    examples: str = "demo/sycophancy"
    n: int = 50
    seed: int = 0
    loss: LossName | None = None

    def load(self) -> tuple[TransformerBridge, ExampleSet]:
        """Returns model and examples, and says what they are."""
        examples = self.drawn("train", self.n)
        model = load_model(self.model)
        say(f"{self.model}: {counted(len(model.blocks), 'layer')}, d_model {model.cfg.d_model}")
        say(f"{self.examples}: {counted(len(examples), 'example')} from {examples.source}")
        return model, examples

    @property
    def chosen_loss(self) -> Loss | None:
        """The loss, or None for the default."""
        return None if self.loss is None else _LOSSES[self.loss]

    def drawn(self, split: str, n: int) -> ExampleSet:
        """Draws examples.

        Args:
            split: The split.
            n: How many; all if there are fewer.

        Returns:
            The examples.
        """

        def load(n: int | None) -> ExampleSet:
            return load_examples(
                self.examples,
                split,
                n=n,
                seed=self.seed,
                prompt_format=self.prompt_format,
                folder=self.data,
            )

        found = load(None)
        return found if len(found) <= n else load(n)


@dataclass(frozen=True)
class Fitted(Inputs):
    """A direction that is fitted on the examples, and where it steers.

    Attributes:
        method: One of the methods by name.
        layer: The steered block; by default the middle one.
        positions: Which tokens are steered.
    """

    method: str = "ColdFD"
    layer: int | None = None
    positions: Literal["prompt", "last_prompt", "all", "generated", "first_generated"] = "prompt"

    @property
    def chosen_method(self) -> Method:
        """The method, with the seed and the loss that were asked for.

        Raises:
            ArgumentError: If it is unknown.
        """
        if self.method not in METHODS:
            raise ArgumentError(
                expected=f"a method among {', '.join(METHODS)}",
                found=repr(self.method),
                fix="Names are written as in Python",
            )
        method = METHODS[self.method]().with_seed(self.seed)
        return method if self.chosen_loss is None else method.with_loss(self.chosen_loss)

    def fit(self, model: TransformerBridge, examples: ExampleSet) -> tuple[Steering, int]:
        """Fits the method.

        Args:
            model: The model.
            examples: The examples.

        Returns:
            The steering, and the steered layer.
        """
        layer = len(model.blocks) // 2 if self.layer is None else self.layer
        return self.chosen_method.fit(model, examples, layer, progress=True), layer


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
