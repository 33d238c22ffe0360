"""Steering towards the answers of a group, and what that does to the distance from other groups.

Layer and step size of a method are chosen on the validation questions of all groups together, and,
to compare, on those of each group alone, which are 27 questions on three topics.

`python -m analyses.pluralistic` takes four minutes on one core, with `--quick` less than one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pandas as pd
from transformer_lens.model_bridge import TransformerBridge

from analyses.pluralistic_measure import cells, chosen_cells, moved, steered, told
from analyses.pluralistic_tables import ALL, by_group, by_pair, overall, with_changes
from analyses.script import script
from coldlens.demo.world import GROUPS
from coldlens.directions import ColdFD, ColdJVP, ColdKernel, FineTune, Method, Random
from coldlens.examples.example import ExampleSet
from coldlens.figures.analysis import Analysis, chosen
from coldlens.figures.drawings import pluralistic
from coldlens.figures.record import Tables, combined_hash
from coldlens.losses import OptionDistribution
from coldlens.models.load import load_model
from coldlens.models.parameters import fingerprint
from coldlens.steering.parametric import DifferenceSteering
from coldlens.sweep import Splits, demo_facts, load_splits


@dataclass(frozen=True)
class Pluralistic(Analysis):
    """Steer the bundled model towards each of its six groups.

    Attributes:
        groups: The groups.
        n: Examples of each group; all 81 by default.
        steps: Steps of ColdJVP and FineTune; the other methods follow one step.
        lr: The learning rate of these steps, at which the loss of the examples goes down.
        etas: Step sizes relative to the residual stream, from which one is chosen. Methods of
            several steps may also act with the strength that their steps have.
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
            lambda: {"methods": {name: repr(one) for name, (one, _) in used._methods().items()}},
        )

    def _methods(self) -> dict[str, tuple[Method, float | None]]:
        """Returns each method, and the step size that its steps stand for."""
        loss, steps = OptionDistribution(), self.steps
        return {
            "ColdFD": (ColdFD(loss), None),
            "ColdKernel": (ColdKernel(loss), None),
            f"ColdJVP, {steps} steps": (ColdJVP(loss, steps, self.lr), steps * self.lr),
            f"FineTune, {steps} steps": (FineTune(steps, self.lr, loss), 1.0),
            "Random": (Random(ColdKernel(loss, positions="all"), self.seed), None),
        }

    def _measured(self, model: TransformerBridge, splits: Mapping[str, Splits]) -> Tables:
        tests = {group: found.test for group, found in splits.items()}
        answers, choices = [], []
        for name, (method, own) in self._methods().items():
            steerings = {
                group: method.fit(model, given.drawn(self.n, self.seed), batch_size=16)
                for group, given in splits.items()
            }
            found = {
                group: cells(steering, self._asked(splits[group]), self.etas, own)
                for group, steering in steerings.items()
            }
            for row in chosen_cells(found, self.budget):
                steering = steerings[row["group"]]
                rows = steered(steering, row["layer"], row["eta"], tests)
                labels = {"method": name, "chosen": row["chosen"], "towards": row["group"]}
                answers.append(rows.assign(**labels))
                choices.append({"method": name, **row})
            for group, steering in steerings.items():
                if isinstance(steering, DifferenceSteering) and isinstance(method, FineTune):
                    labels = {"method": f"{self.steps} steps taken", "towards": group}
                    answers.append(moved(steering, tests).assign(chosen=ALL, **labels))
        for group in splits:
            labels = {"method": "told the group", "towards": group}
            answers.append(told(model, group, tests).assign(chosen=ALL, **labels))
        questions = with_changes(pd.concat(answers, ignore_index=True))
        together = questions.query("chosen == @ALL")
        return {
            "groups": by_group(together),
            "pairs": by_pair(together),
            "overall": overall(questions),
            "choices": pd.DataFrame(choices),
        }

    def _asked(self, given: Splits) -> Mapping[str, ExampleSet]:
        facts = demo_facts(2 * self.facts)
        return {
            "validation": given.validation,
            "capability_validation": facts[: self.facts],
            "capability_test": facts[self.facts :],
        }


if __name__ == "__main__":
    script(Pluralistic)
