"""What the analyses share whose tables are read from a sweep on the bundled model."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from coldlens.demo.world import BEHAVIOURS
from coldlens.examples.example import ExampleSet
from coldlens.figures.analysis import Analysis, chosen
from coldlens.figures.record import Tables, combined_hash
from coldlens.losses import Loss
from coldlens.models.load import load_model
from coldlens.models.parameters import fingerprint
from coldlens.sweep import Splits, SweepResult, demo_facts, load_splits, sweep

SWEEPS = Path("out/sweeps")
"""Where raw measurements go, in a folder a sweep; they are not committed."""


@dataclass(frozen=True)
class Swept(Analysis):
    """Settings of a sweep on the bundled model, and of what is read from it.

    Attributes:
        behaviours: The behaviours of the bundled model.
        methods: The methods by name.
        etas: Step sizes relative to the residual stream.
        sizes: How many examples are drawn for training.
        seeds: Seeds of the draws, and of methods that are random.
        validation: How many questions layer and step size are chosen by.
        test: How many questions the choice is reported on.
        facts: How many unrelated questions; half of them guard the choice, half tell its cost.
        budget: Accuracy on them that may be lost.
        sweep: Folder of the raw measurements, by default one in out/sweeps. One that was begun is
            gone on with, a finished one is only read; one of another sweep is refused.
        jobs: Processes, each with a model; the numbers do not depend on it.
    """

    behaviours: tuple[str, ...] = BEHAVIOURS
    methods: tuple[str, ...] = ()
    etas: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0)
    sizes: tuple[int, ...] = (50,)
    seeds: tuple[int, ...] = (0,)
    validation: int = 40
    test: int = 100
    facts: int = 120
    budget: float = 0.05
    sweep: Path | None = None
    jobs: int = 1

    raw: ClassVar[str]
    """Name of the sweep: analyses that read the same one measure it once."""
    losses: ClassVar[Mapping[str, Loss] | None] = None
    """The losses by setting; None for the default loss."""

    def run(self) -> Tables:
        """Returns the tables by name after writing them, or those that are there."""
        used = chosen(self)
        splits, facts = used.splits(), demo_facts(used.facts)
        parts = [part for one in splits.values() for part in (one.train, one.validation, one.test)]
        losses = used.losses and {name: repr(loss) for name, loss in used.losses.items()}
        wanted = {
            "model": "demo",
            "model_fingerprint": fingerprint(load_model("demo")),
            "data": ", ".join(f"demo/{behaviour}" for behaviour in used.behaviours),
            "data_hash": combined_hash([*parts, facts]),
            "losses": losses,
        }
        return used.made(
            "demo",
            wanted,
            lambda: used.tables(used.swept()),
            lambda: {"compared": SweepResult.load(used.folder).about["methods"]},
        )

    @property
    def folder(self) -> Path:
        """The folder of the raw measurements."""
        usual = SWEEPS / (f"{self.raw}-quick" if self.quick else self.raw)
        return usual if self.sweep is None else self.sweep

    def splits(self) -> dict[str, Splits]:
        """Returns the data by behaviour."""
        return {
            name: load_splits(f"demo/{name}", validation=self.validation, test=self.test)
            for name in self.behaviours
        }

    def unrelated(self) -> dict[str, ExampleSet]:
        """Returns the unrelated questions by split."""
        facts = demo_facts(self.facts)
        half = (len(facts) + 1) // 2
        return {"capability_validation": facts[:half], "capability_test": facts[half:]}

    def swept(self) -> SweepResult:
        """Returns the sweep after measuring what is not there yet."""
        return sweep(
            "demo",
            self.splits(),
            self.methods,
            etas=self.etas,
            sizes=self.sizes,
            seeds=self.seeds,
            losses=self.losses,
            capability=demo_facts(self.facts),
            folder=self.folder,
            jobs=self.jobs,
            progress=True,
        )

    @abstractmethod
    def tables(self, result: SweepResult) -> Tables:
        """Makes the tables.

        Args:
            result: The sweep.

        Returns:
            The tables by name.
        """
