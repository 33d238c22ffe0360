"""Beyond one step at one layer: several steps, and several layers at once.

`python -m analyses.layers_and_steps` takes about five minutes on one core, with `--quick` less than
one.
"""

from dataclasses import dataclass
from typing import ClassVar

import pandas as pd
import torch

from analyses.layer_tables import LayerComparison, Questions
from analyses.script import script
from analyses.step_tables import steps_table
from coldlens.datasets import load_examples
from coldlens.directions import ColdJVP
from coldlens.examples.example import ExampleSet
from coldlens.figures.analysis import Analysis, chosen
from coldlens.figures.drawings import layers_and_steps
from coldlens.figures.record import Tables, combined_hash
from coldlens.losses import DPO
from coldlens.models.load import load_model
from coldlens.models.parameters import fingerprint
from coldlens.steering.parametric import TangentSteering
from coldlens.sweep import demo_facts


@dataclass(frozen=True)
class LayersAndSteps(Analysis):
    """Measure several steps and several layers on the bundled model.

    Attributes:
        behaviours: Behaviours of the demo world.
        n: Examples of each behaviour.
        steps: Numbers of steps k.
        lrs: Learning rates.
        lengths: Total lengths of the steering, relative to the residual stream.
        etas: Step sizes at which steering is compared with a step really taken.
        questions: Test questions of each behaviour; half as many for validation, and as many facts.
        prompts: Prompts at which predictions of several steps are read.
        seed: Seed of all draws.
    """

    behaviours: tuple[str, ...] = ("sycophancy", "refusal", "hallucination")
    n: int = 20
    steps: tuple[int, ...] = (1, 2, 5, 10, 20)
    lrs: tuple[float, ...] = (0.01, 0.1, 1.0)
    lengths: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0)
    etas: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0, 3.0)
    questions: int = 60
    prompts: int = 12
    seed: int = 0

    drawing = layers_and_steps.DRAWING
    QUICK: ClassVar = {
        "behaviours": ("sycophancy",),
        "n": 6,
        "steps": (1, 3),
        "lrs": (0.1,),
        "lengths": (0.3,),
        "etas": (0.3,),
        "questions": 8,
        "prompts": 4,
    }

    def run(self) -> Tables:
        """Returns the tables by name after writing them, or those that are there."""
        used = chosen(self)
        wanted = {
            "model": "demo",
            "model_fingerprint": fingerprint(load_model("demo")),
            "data": ", ".join(f"demo/{behaviour}" for behaviour in used.behaviours),
            "data_hash": combined_hash(
                part for behaviour in used.behaviours for part in used._splits(behaviour)
            ),
        }
        return used.made("demo", wanted, used._measured, lambda: {"loss": repr(DPO())})

    def _measured(self) -> Tables:
        parts: dict[str, list[pd.DataFrame]] = {name: [] for name in self.drawing.tables}
        single, double = load_model("demo"), load_model("demo", dtype=torch.float64)
        for behaviour in self.behaviours:
            train, validation, test = self._splits(behaviour)
            prompts = test[: self.prompts]
            steps = steps_table(double, train, prompts, DPO(), self.steps, self.lrs)
            facts = demo_facts(2 * self.questions)[self.questions :]
            asked = Questions(validation, test, facts)
            steering = ColdJVP(DPO(), gradient="dense").fit(single, train)
            assert isinstance(steering, TangentSteering)
            comparison = LayerComparison(steering, asked)
            layers, contrasts = comparison.tables(self.lengths)
            closeness = comparison.closeness(self.etas)
            found = (steps, layers, contrasts, closeness)
            for name, table in zip(self.drawing.tables, found, strict=True):
                table.insert(0, "behaviour", behaviour)
                parts[name].append(table)
        return {name: pd.concat(found, ignore_index=True) for name, found in parts.items()}

    def _splits(self, behaviour: str) -> list[ExampleSet]:
        """Returns examples, validation questions and test questions."""
        sizes = {"train": self.n, "validation": self.questions // 2, "test": self.questions}
        return [
            load_examples(f"demo/{behaviour}", split, n, self.seed) for split, n in sizes.items()
        ]


if __name__ == "__main__":
    script(LayersAndSteps)
