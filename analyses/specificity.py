"""What steering towards each behaviour does to every other one, beside being told a persona.

`python -m analyses.specificity` takes three minutes on one core, with `--quick` less than one.
"""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportGeneralTypeIssues=false, reportIndexIssue=false

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import pandas as pd

from analyses.script import script
from analyses.swept import Swept
from coldlens.compare.choose import choose_methods
from coldlens.demo.world import persona, with_persona
from coldlens.evaluation import evaluate, specificity
from coldlens.evaluation.bootstrap import interval, interval_of_mean
from coldlens.evaluation.clusters import cluster_columns, clusters_of
from coldlens.examples.example import ExampleSet
from coldlens.figures.drawings import specificity as drawing
from coldlens.figures.record import Tables
from coldlens.losses import default_loss
from coldlens.models.load import load_model
from coldlens.sweep import SweepResult

PERSONA = "told the persona"
FACTS = "facts"


@dataclass(frozen=True)
class SpecificityOfSteering(Swept):
    """Steer towards each behaviour and measure all of them."""

    methods: tuple[str, ...] = ("ColdFD", "DiffMean")
    facts: int = 80

    raw = "specificity"
    drawing = drawing.DRAWING
    QUICK: ClassVar = {
        "behaviours": ("refusal", "sycophancy"),
        "etas": (0.3,),
        "sizes": (5,),
        "validation": 4,
        "test": 6,
        "facts": 8,
    }

    def tables(self, result: SweepResult) -> Tables:
        """Returns changes by pair, their means by method, and the choices within the budget."""
        choices = result.choices(self.budget)
        choices = choices[choices.guarded & (choices.method != "base")]
        asked = {name: found.test for name, found in self.splits().items()}
        asked[FACTS] = self.unrelated()["capability_test"]
        questions = pd.concat(
            [*(self._steered(method, choices, asked) for method in self.methods), _told(asked)],
            ignore_index=True,
        )
        return {
            "pairs": by_pair(questions),
            "overall": overall(questions),
            "choices": choices.drop(columns="guarded"),
        }

    def _steered(
        self, method: str, choices: pd.DataFrame, asked: Mapping[str, ExampleSet]
    ) -> pd.DataFrame:
        model, found = load_model("demo"), choices[choices.method == method]
        steerings = {}
        for behaviour, splits in self.splits().items():
            train = splits.drawn(self.sizes[0], self.seeds[0])
            methods, _ = choose_methods([method], train, default_loss(train), 0)
            steerings[behaviour] = methods[method].fit(model, train)
        layers = found.set_index("behaviour").layer.fillna(0).astype(int).to_dict()
        etas = found.set_index("behaviour").eta.astype(float).to_dict()
        table = specificity(model, steerings, asked, layers, etas, batch_size=64).table
        return _changes(table.assign(method=method), table.unsteered_probability)


def _told(asked: Mapping[str, ExampleSet]) -> pd.DataFrame:
    """Returns the same of the model when each prompt says whose persona it speaks as."""
    model, found = load_model("demo"), []
    for measured, questions in asked.items():
        plain = evaluate(model, questions, batch_size=64).table
        for steered in asked:
            if steered == FACTS:
                continue
            profiles = persona(steered, n=len(questions))
            told = tuple(
                replace(one, prompt=with_persona(str(one.prompt), profile))
                for one, profile in zip(questions, profiles, strict=True)
            )
            table = evaluate(model, replace(questions, examples=told), batch_size=64).table
            table = table.assign(method=PERSONA, steered=steered, measured=measured)
            found.append(_changes(table, plain.probability))
    return pd.concat(found, ignore_index=True)


def _changes(table: pd.DataFrame, unsteered: pd.Series) -> pd.DataFrame:
    names = ["method", "steered", "measured", "question", "probability"]
    return table[[*names, *cluster_columns(table)]].assign(
        unsteered=unsteered, change=table.probability - unsteered
    )


def by_pair(questions: pd.DataFrame) -> pd.DataFrame:
    """Summarises each method, behaviour steered towards and set of questions.

    Args:
        questions: A row a method, `steered`, `measured` and question: `probability`, `unsteered`
            and their difference `change`; and the clusters of the questions, if they have any.

    Returns:
        A row each: their means, and a 95 % interval of the change, over clusters of questions or
        over questions.
    """
    keys = ["method", "steered", "measured"]
    rows = []
    for key, part in questions.groupby(keys, sort=False):
        low, high = interval(part.change.to_numpy(dtype=float), clusters_of(part))
        means = part[["probability", "unsteered", "change"]].mean()
        rows.append({**dict(zip(keys, key, strict=True)), **means, "low": low, "high": high})
    return pd.DataFrame(rows)


def overall(questions: pd.DataFrame) -> pd.DataFrame:
    """Averages over behaviours.

    Args:
        questions: As in `by_pair`.

    Returns:
        A row a method: the mean change of the `own` behaviour, of the `others` and of the `facts`,
        with 95 % intervals as in `by_pair`, and `others_size`, the mean absolute value over pairs
        of behaviours of the change of the other one.
    """
    kind = pd.Series("others", index=questions.index)
    kind = kind.mask(questions.measured == FACTS, FACTS)
    kind = kind.mask(questions.measured == questions.steered, "own")
    rows = []
    for method, part in questions.assign(kind=kind).groupby("method", sort=False):
        row = {"method": method}
        for name in ("own", "others", FACTS):
            chosen = part[part.kind == name]
            row[name] = chosen.groupby(["steered", "measured"]).change.mean().mean()
            sets = [_over_steerings(asked) for _, asked in chosen.groupby("measured")]
            row[f"{name}_low"], row[f"{name}_high"] = interval_of_mean(
                [shared.change.to_numpy(dtype=float) for shared in sets],
                list(map(clusters_of, sets)),
            )
        others = part[part.kind == "others"].groupby(["steered", "measured"]).change.mean()
        rows.append({**row, "others_size": others.abs().mean()})
    return pd.DataFrame(rows)


def _over_steerings(rows: pd.DataFrame) -> pd.DataFrame:
    # All steerings are measured on the same questions, which are drawn together.
    asked = ["question", *cluster_columns(rows)]
    return rows.groupby(asked, dropna=False).change.mean().reset_index()


if __name__ == "__main__":
    script(SpecificityOfSteering)
