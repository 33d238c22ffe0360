"""Steering towards the answers of a group, and what that does to the distance from other groups.

`python -m analyses.pluralistic` takes three minutes on one core, with `--quick` less than one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pandas as pd
from transformer_lens.model_bridge import TransformerBridge

from analyses.pluralistic_measure import moved, steered, told
from analyses.pluralistic_tables import by_group, by_pair, overall, with_topics
from analyses.script import script
from coldlens.demo.world import GROUPS
from coldlens.directions import ColdFD, ColdJVP, ColdKernel, Method, Random
from coldlens.examples.example import ExampleSet
from coldlens.figures.analysis import Analysis, chosen
from coldlens.figures.drawings import pluralistic
from coldlens.figures.record import Tables, combined_hash
from coldlens.losses import OptionDistribution
from coldlens.models.load import load_model
from coldlens.models.parameters import fingerprint
from coldlens.steering.parametric import TangentSteering
from coldlens.sweep import Splits, demo_facts, load_splits


@dataclass(frozen=True)
class Pluralistic(Analysis):
    """Steer the bundled model towards each of its six groups.

    Attributes:
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

    groups: tuple[str, ...] = GROUPS
    n: int = 81
    steps: int = 100
    lr: float = 0.03
    etas: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0, 3.0)
    facts: int = 40
    budget: float = 0.05
    seed: int = 0

    drawing = pluralistic.DRAWING
    QUICK: ClassVar = {"groups": GROUPS[:2], "n": 9, "steps": 3, "etas": (0.3,), "facts": 4}

    def run(self) -> Tables:
        """Returns the tables by name after writing them, or those that are there."""
        used = chosen(self)
        model = load_model("demo")
        splits = {group: load_splits(f"demo/groups/{group}") for group in used.groups}
        wanted = {
            "model": "demo",
            "model_fingerprint": fingerprint(model),
            "data": ", ".join(f"demo/groups/{group}" for group in used.groups),
            "data_hash": combined_hash(
                part
                for group in splits.values()
                for part in (group.drawn(used.n, used.seed), group.validation, group.test)
            ),
        }
        return used.made(
            "demo",
            wanted,
            lambda: used._measured(model, splits),
            lambda: {"methods": {name: repr(one) for name, one in used._methods().items()}},
        )

    def _methods(self) -> dict[str, Method]:
        loss = OptionDistribution()
        return {
            "ColdFD": ColdFD(loss),
            "ColdKernel": ColdKernel(loss),
            f"ColdJVP, {self.steps} steps": ColdJVP(loss, self.steps, self.lr),
            "Random": Random(ColdKernel(loss, positions="all"), self.seed),
        }

    def _measured(self, model: TransformerBridge, splits: Mapping[str, Splits]) -> Tables:
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
    script(Pluralistic)
