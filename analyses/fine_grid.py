"""A sweep of few methods over many step sizes, which two analyses read."""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportGeneralTypeIssues=false, reportIndexIssue=false

from dataclasses import dataclass
from typing import ClassVar

import pandas as pd

from analyses.swept import Swept
from coldlens.evaluation.bootstrap import interval
from coldlens.evaluation.clusters import cluster_columns, clusters_of, with_clusters
from coldlens.sweep import SweepResult


@dataclass(frozen=True)
class FineGrid(Swept):
    """Sweep few methods over many step sizes on two behaviours."""

    behaviours: tuple[str, ...] = ("refusal", "sycophancy")
    methods: tuple[str, ...] = ("DiffMean", "ReFTVector", "ColdKernel", "ColdFD", "Random")
    etas: tuple[float, ...] = (0.03, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0)
    seeds: tuple[int, ...] = (0, 1)
    test: int = 60
    facts: int = 80

    raw = "grid"
    QUICK: ClassVar = {
        "behaviours": ("refusal",),
        "methods": ("DiffMean", "ColdKernel", "ColdFD", "Random"),
        "etas": (0.1, 1.0),
        "sizes": (5,),
        "validation": 4,
        "test": 6,
        "facts": 8,
    }

    def measured(self, result: SweepResult) -> pd.DataFrame:
        """Adds the clusters of the questions to what `beside_unsteered` says.

        Args:
            result: A sweep with these settings.

        Returns:
            The same rows.
        """
        rows, unrelated, parts = beside_unsteered(result), self.unrelated(), []
        for behaviour, splits in self.splits().items():
            sets = {"validation": splits.validation, "test": splits.test, **unrelated}
            for split, asked in sets.items():
                of_set = (rows.behaviour == behaviour) & (rows.split == split)
                parts.append(with_clusters(rows[of_set], asked.clusters))
        return pd.concat(parts, ignore_index=True)


def beside_unsteered(result: SweepResult) -> pd.DataFrame:
    """Puts the unsteered model's measurement beside every steered one.

    Args:
        result: A sweep.

    Returns:
        The rows of `result.questions` with a layer, and columns `effect` (change of the
        probability) and `accuracy_change`.
    """
    rows = result.questions
    keys = ["behaviour", "split", "question"]
    names = ["probability", "correct"]
    plain = rows[rows.method == "base"][[*keys, *names]]
    both = rows[rows.layer.notna()].merge(plain, on=keys, suffixes=("", "_unsteered"))
    return both.assign(
        effect=both.probability - both.probability_unsteered,
        accuracy_change=both.correct - both.correct_unsteered,
    )


def over_questions(rows: pd.DataFrame, keys: list[str], name: str) -> pd.DataFrame:
    """Averages over seeds, then over questions.

    Args:
        rows: Measurements, with the clusters of the questions if they have any.
        keys: What names a group.
        name: The measurement.

    Returns:
        By group the mean, as the column `name`, and a 95 % bootstrap interval over clusters of
        questions or over questions, `{name}_low` and `{name}_high`.
    """
    asked = [*keys, "question", *cluster_columns(rows)]
    questions = rows.groupby(asked, sort=False, dropna=False)[name].mean().reset_index()
    found = {}
    for key, part in questions.groupby(keys, sort=False):
        values = part[name].to_numpy(dtype=float)
        low, high = interval(values, clusters_of(part))
        found[key] = {name: part[name].mean(), f"{name}_low": low, f"{name}_high": high}
    return pd.DataFrame.from_dict(found, orient="index").rename_axis(keys)
