"""Steering towards the answers of a group, and what that does to the distance from other groups.

`python -m analyses.pluralistic --out docs/results/pluralistic` takes about three minutes on one
core, with `--quick` less than one.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd
import tyro
from transformer_lens.model_bridge import TransformerBridge

from analyses.measure import circumstances
from analyses.pluralistic_figure import plot_pluralistic
from analyses.pluralistic_measure import moved, steered, told
from analyses.pluralistic_tables import by_group, by_pair, overall, with_topics
from coldlens.cli.inputs import say
from coldlens.demo.world import GROUPS
from coldlens.directions import ColdFD, ColdJVP, ColdKernel, Method, Random
from coldlens.examples.example import ExampleSet
from coldlens.files import check_replaceable
from coldlens.losses import OptionDistribution
from coldlens.models.load import load_model
from coldlens.models.parameters import fingerprint
from coldlens.results import ResultKind, saved
from coldlens.steering.parametric import TangentSteering
from coldlens.sweep import Splits, demo_facts, load_splits

FIGURE = "pluralistic.png"
_DISTANCES = ("method", "unsteered", "steered", "change", "change_low", "change_high")
KIND = ResultKind(
    "analyses.pluralistic",
    "coldlens pluralistic 1",
    {
        "groups": ("group", *_DISTANCES, "others_change"),
        "pairs": ("towards", "measured", *_DISTANCES),
        "overall": ("clusters", *_DISTANCES, "others_change"),
        "choices": ("method", "group", "layer", "relative", "eta", "validation"),
    },
    (FIGURE,),
)


@dataclass(frozen=True)
class Pluralistic:
    """Steer the bundled model towards each of its six groups.

    Attributes:
        out: Folder for tables and figure.
        quick: Two groups, few examples, steps and step sizes, in less than a minute.
        groups: The groups.
        n: Examples of each group; all 81 by default.
        steps: Steps of ColdJVP; the other methods follow one step.
        lr: The learning rate of these steps, at which the loss of the examples goes down.
        etas: Step sizes relative to the residual stream, from which one is chosen.
        facts: Unrelated questions that guard the choice of layer and step size; as many others
            tell what it cost.
        budget: Accuracy on them that may be lost.
        seed: Seed of all draws.
    """

    out: Path = Path("out/pluralistic")
    quick: bool = False
    groups: tuple[str, ...] = GROUPS
    n: int = 81
    steps: int = 100
    lr: float = 0.03
    etas: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0, 3.0)
    facts: int = 40
    budget: float = 0.05
    seed: int = 0

    def run(self) -> dict[str, pd.DataFrame]:
        """Returns the tables `groups`, `pairs`, `overall` and `choices` after writing them."""
        check_replaceable(self.out, KIND.folder)
        chosen = self
        if self.quick:
            chosen = replace(self, groups=self.groups[:2], n=9, steps=3, etas=(0.3,), facts=4)
        model = load_model("demo")
        tables = chosen._measured(model)
        about = {
            **circumstances(),
            "settings": {name: value for name, value in asdict(chosen).items() if name != "out"},
            "methods": {name: repr(method) for name, method in chosen._methods().items()},
            "model": "demo",
            "model_fingerprint": fingerprint(model),
        }
        with saved(self.out, KIND, tables, about) as folder:
            plot_pluralistic(tables).savefig(folder / FIGURE)
        say(tables["overall"].to_string(index=False, float_format="{:+.3f}".format))
        return tables

    def _methods(self) -> dict[str, Method]:
        loss = OptionDistribution()
        return {
            "ColdFD": ColdFD(loss),
            "ColdKernel": ColdKernel(loss),
            f"ColdJVP, {self.steps} steps": ColdJVP(loss, self.steps, self.lr),
            "Random": Random(ColdKernel(loss, positions="all"), self.seed),
        }

    def _measured(self, model: TransformerBridge) -> dict[str, pd.DataFrame]:
        splits = {group: load_splits(f"demo/groups/{group}") for group in self.groups}
        tests = {group: found.test for group, found in splits.items()}
        facts = demo_facts(2 * self.facts)
        answers, choices = [], []
        for group, given in splits.items():
            train = given.drawn(self.n, self.seed)
            for name, method in self._methods().items():
                steering = method.fit(model, train, batch_size=16)
                found, choice = steered(
                    steering, _asked(given, facts, self.facts), tests, self.etas, self.budget
                )
                answers.append(found.assign(method=name, towards=group))
                choices.append({"method": name, "group": group, **choice})
                if isinstance(steering, TangentSteering):
                    found = moved(steering, self.steps * self.lr, tests)
                    answers.append(found.assign(method=f"{self.steps} steps taken", towards=group))
            answers.append(told(model, group, tests).assign(method="told the group", towards=group))
        questions = with_topics(pd.concat(answers, ignore_index=True))
        chosen = pd.DataFrame(choices)
        return {
            "groups": by_group(questions),
            "pairs": by_pair(questions),
            "overall": overall(questions),
            "choices": chosen,
        }


def _asked(given: Splits, facts: ExampleSet, half: int) -> Mapping[str, ExampleSet]:
    return {
        "validation": given.validation,
        "capability_validation": facts[:half],
        "capability_test": facts[half:],
    }


if __name__ == "__main__":
    tyro.cli(Pluralistic).run()
