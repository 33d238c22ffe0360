"""Beyond one step at one layer: several steps, and several layers at once.

`python -m analyses.layers_and_steps --out docs/results/layers_and_steps` takes about five
minutes on one core, with `--quick` less than one.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd
import torch
import tyro

from analyses.layer_tables import LayerComparison, Questions
from analyses.layers_figure import plot_layers_and_steps
from analyses.measure import circumstances
from analyses.step_tables import steps_table
from coldlens.cli.inputs import say
from coldlens.datasets import load_examples
from coldlens.directions import ColdJVP
from coldlens.files import check_replaceable
from coldlens.losses import DPO
from coldlens.models.load import load_model
from coldlens.models.parameters import fingerprint
from coldlens.results import ResultKind, saved
from coldlens.steering.parametric import TangentSteering
from coldlens.sweep import demo_facts

FIGURE = "layers_and_steps.png"
KIND = ResultKind(
    "analyses.layers_and_steps",
    "coldlens layers and steps 1",
    {
        "steps": ("behaviour", "lr", "steps", "layer", "prediction", "relative_error", "cosine"),
        "layers": ("behaviour", "way", "target", "layers", "probability", "facts_kl", "chosen"),
        "contrasts": ("behaviour", "way", "target", "probability", "facts_kl"),
        "closeness": ("behaviour", "way", "layers", "eta", "kl_from_step", "kl_from_stream"),
    },
    (FIGURE,),
)


@dataclass(frozen=True)
class LayersAndSteps:
    """Measure several steps and several layers on the bundled model.

    Attributes:
        out: Folder for tables and figure.
        quick: A small grid, in less than a minute.
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

    out: Path = Path("out/layers_and_steps")
    quick: bool = False
    behaviours: tuple[str, ...] = ("sycophancy", "refusal", "hallucination")
    n: int = 20
    steps: tuple[int, ...] = (1, 2, 5, 10, 20)
    lrs: tuple[float, ...] = (0.01, 0.1, 1.0)
    lengths: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0)
    etas: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0, 3.0)
    questions: int = 60
    prompts: int = 12
    seed: int = 0

    def run(self) -> dict[str, pd.DataFrame]:
        """Returns the tables, those of `KIND`, after writing them and a figure."""
        check_replaceable(self.out, KIND.folder)
        chosen = self
        if self.quick:
            chosen = replace(
                self,
                behaviours=self.behaviours[:1],
                n=6,
                steps=(1, 3),
                lrs=(0.1,),
                lengths=(0.3,),
                etas=(0.3,),
                questions=8,
                prompts=4,
            )
        tables = chosen._measured()
        about = {
            **circumstances(),
            "settings": {name: value for name, value in asdict(chosen).items() if name != "out"},
            "loss": repr(DPO()),
            "model": "demo",
            "model_fingerprint": fingerprint(load_model("demo")),
        }
        with saved(self.out, KIND, tables, about) as folder:
            plot_layers_and_steps(tables).savefig(folder / FIGURE)
        return tables

    def _measured(self) -> dict[str, pd.DataFrame]:
        parts: dict[str, list[pd.DataFrame]] = {name: [] for name in KIND.tables}
        single, double = load_model("demo"), load_model("demo", dtype=torch.float64)
        for behaviour in self.behaviours:
            train, validation, test = (
                load_examples(f"demo/{behaviour}", split, n, self.seed)
                for split, n in (
                    ("train", self.n),
                    ("validation", self.questions // 2),
                    ("test", self.questions),
                )
            )
            prompts = test[: self.prompts]
            steps = steps_table(double, train, prompts, DPO(), self.steps, self.lrs)
            facts = demo_facts(2 * self.questions)[self.questions :]
            asked = Questions(validation, test, facts)
            steering = ColdJVP(DPO()).fit(single, train)
            assert isinstance(steering, TangentSteering)
            comparison = LayerComparison(steering, asked)
            layers, contrasts = comparison.tables(self.lengths)
            closeness = comparison.closeness(self.etas)
            found = (steps, layers, contrasts, closeness)
            for name, table in zip(KIND.tables, found, strict=True):
                table.insert(0, "behaviour", behaviour)
                parts[name].append(table)
            say(contrasts.to_string(index=False, float_format="{:.3g}".format))
        return {name: pd.concat(found, ignore_index=True) for name, found in parts.items()}


if __name__ == "__main__":
    tyro.cli(LayersAndSteps).run()
