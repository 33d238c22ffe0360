"""What the analyses share: settings, a folder for the tables, and a model with examples."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from transformer_lens.model_bridge import TransformerBridge

from coldlens.checks import above_zero
from coldlens.datasets import load_examples
from coldlens.examples.example import ExampleSet
from coldlens.figures.drawing import Drawing
from coldlens.figures.record import Tables, made
from coldlens.models.load import load_model, model_id
from coldlens.models.parameters import fingerprint

TABLES = Path("figures/tables")
_NO_SETTINGS = ("out", "force", "model", "examples", "sweep", "jobs")


@dataclass(frozen=True)
class Analysis(ABC):
    """Settings of an analysis whose tables one figure shows.

    Attributes:
        out: Folder of tables: in it a folder a model, and in that one an analysis.
        quick: Smaller settings, in seconds.
        force: Make the tables again although the wanted ones are there.
    """

    out: Path = TABLES
    quick: bool = False
    force: bool = False

    drawing: ClassVar[Drawing]
    """The figure, which says what the tables are."""
    QUICK: ClassVar[Mapping[str, Any]] = {}
    """The settings that `quick` changes."""

    @abstractmethod
    def run(self) -> Tables:
        """Returns the tables by name after writing them, or those that are there."""

    def made(
        self,
        subject: str,
        wanted: Mapping[str, Any],
        measure: Callable[[], Tables],
        beside: Callable[[], Mapping[str, Any]] = dict,
    ) -> Tables:
        """Measures, unless tables with these settings are there; see `record.made`.

        Args:
            subject: Name of the model.
            wanted: What decides about the numbers besides the settings.
            measure: Makes the tables.
            beside: Says what else the record should hold.

        Returns:
            The tables by name.
        """
        settings = {name: value for name, value in asdict(self).items() if name not in _NO_SETTINGS}
        folder = self.out / subject.replace("/", "--") / self.drawing.name
        return made(
            folder,
            self.drawing.kind,
            {"analysis": self.drawing.name, "settings": settings, **wanted},
            measure,
            beside=beside,
            force=self.force,
        )


Kind = TypeVar("Kind", bound=Analysis)


def chosen(analysis: Kind) -> Kind:
    """Gives the settings that are measured with.

    Args:
        analysis: The settings that were asked for.

    Returns:
        Those of `QUICK` in their place where `quick` is set.
    """
    return replace(analysis, **analysis.QUICK) if analysis.quick else analysis


@dataclass(frozen=True)
class ModelAnalysis(Analysis):
    """Settings of an analysis that takes any model and examples.

    Attributes:
        model: "demo", a folder in Hugging Face layout, or a Hugging Face id.
        examples: A data set by name, such as demo/refusal, or a .json, .jsonl or .csv file.
        n: How many examples to draw; all if there are fewer.
        seed: Seed of the draw, and of everything else that is random.
    """

    model: str = "demo"
    examples: str = "demo/refusal"
    n: int = 10
    seed: int = 0

    def run(self) -> Tables:
        """Returns the tables by name after writing them, or those that are there."""
        above_zero("n", self.n)
        return self.on(load_model(self.model), load_examples(self.examples))

    def on(self, model: TransformerBridge, examples: ExampleSet) -> Tables:
        """Runs on a model and examples that are loaded.

        Args:
            model: The model.
            examples: The examples to draw from.

        Returns:
            The tables by name.
        """
        used, name = chosen(self), model_id(model)
        wanted = {
            "model": name,
            "model_fingerprint": fingerprint(model),
            "data": examples.name,
            "data_hash": examples.hash(),
        }
        return used.made(name, wanted, lambda: used.measured(model, examples))

    @abstractmethod
    def measured(self, model: TransformerBridge, examples: ExampleSet) -> Tables:
        """Makes the tables.

        Args:
            model: The model.
            examples: The examples to draw from.

        Returns:
            The tables by name.
        """

    def drawn(self, examples: ExampleSet) -> ExampleSet:
        """Draws the examples.

        Args:
            examples: The examples to draw from.

        Returns:
            At most `n` of them.
        """
        return examples.sample(min(self.n, len(examples)), self.seed)
