"""`Choices`: chosen cells with what they give on the test split, averaged and ranked."""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportGeneralTypeIssues=false, reportIndexIssue=false

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from coldlens.evaluation.bootstrap import Clusters, interval, interval_of_mean
from coldlens.sweep.choose import average_ranks, one_measure
from coldlens.sweep.methods import BASE
from coldlens.sweep.unit import KEYS

_METHOD = ["setting", "method"]

Answers = dict[str, Float[np.ndarray, " question"]]
"""By behaviour, the measurement of each test question."""


@dataclass(frozen=True, eq=False)
class Choices:
    """One chosen cell for each method of each unit.

    Attributes:
        table: A row a choice: those of `choose_cells`, and what the cell gives on the test split.
        answers: By index of the table, the measurement of each test question.
        by: What each behaviour is measured by.
        clusters: The labels of each behaviour's test questions, where they have any.
    """

    table: pd.DataFrame
    answers: Mapping[Hashable, Float[np.ndarray, " _"]]
    by: Mapping[str, str]
    clusters: Mapping[str, Clusters]

    def scores(self) -> pd.DataFrame:
        """Averages over seeds.

        Returns:
            A row a behaviour, setting, method and size: `test`, the mean over seeds, with a 95 %
            bootstrap interval over questions or their clusters (`low`, `high`); `lowest` and
            `highest` seed; `seeds`; `capability_change`.
        """
        keys = [key for key in KEYS if key != "seed"]
        rows = [
            (
                *key,
                rows.test.mean(),
                *interval(self._over_seeds(rows), self.clusters.get(key[0])),
                rows.test.min(),
                rows.test.max(),
                len(rows),
                rows.capability_change.mean(),
            )
            for key, rows in self.table.groupby(keys, sort=False)
        ]
        names = ["test", "low", "high", "lowest", "highest", "seeds", "capability_change"]
        return pd.DataFrame(rows, columns=[*keys, *names])

    def main_table(self, size: int, setting: str | None) -> pd.DataFrame:
        """Compares methods over behaviours at one size; see `SweepResult.main_table`.

        Args:
            size: N.
            setting: One loss setting, or None for all.

        Returns:
            A row a setting and method.
        """
        shown = self._shown(size, setting)
        values = shown.pivot_table(index=_METHOD, columns="behaviour", values="test", sort=False)
        answers = self._answers(shown)
        found = values.assign(
            **self._means({key: answers[key] for key in values.index}, list(values.columns)),
            average_rank=average_ranks(values, self.by),
            capability_change=shown.groupby(_METHOD, sort=False).capability_change.mean(),
        )
        return found.sort_values("average_rank", kind="stable").rename_axis(columns=None)

    def methods(self, size: int, setting: str | None) -> list[tuple[str, str]]:
        """Lists what `main_table` and `differences` have rows of.

        Args:
            size: N.
            setting: One loss setting, or None for all.

        Returns:
            Settings and methods.
        """
        return list(self._shown(size, setting).groupby(_METHOD, sort=False).groups)

    def differences(self, to: tuple[str, str], size: int, setting: str | None) -> pd.DataFrame:
        """Compares each method with one, question by question; see `SweepResult.differences`.

        Args:
            to: Setting and method of the one.
            size: N.
            setting: One loss setting, or None for all.

        Returns:
            A row a setting and method.
        """
        shown = self._shown(size, setting)
        answers, names = self._answers(shown), list(shown.behaviour.unique())
        one = answers[to]
        apart = {
            key: {name: found[name] - one[name] for name in names if name in found and name in one}
            for key, found in answers.items()
            if key != to
        }
        index = pd.MultiIndex.from_tuples(list(apart), names=_METHOD)
        return pd.DataFrame(self._means(apart, names), index=index)

    def sample_efficiency(self) -> pd.DataFrame:
        """Averages over behaviours, by size.

        Returns:
            A row a setting, method and size: `mean` over behaviours and seeds, `lowest` and
            `highest` mean over behaviours of a seed.
        """
        one_measure(self.by)
        index = [*_METHOD, "size"]
        seeds = self.table.groupby([*index, "seed"], sort=False).test.mean().reset_index()
        found = seeds.groupby(index, sort=False).test.agg(["mean", "min", "max"]).reset_index()
        found = found.rename(columns={"min": "lowest", "max": "highest"})
        return found.sort_values(index, ignore_index=True, kind="stable")

    def _over_seeds(self, rows: pd.DataFrame) -> Float[np.ndarray, " question"]:
        return np.mean([self.answers[place] for place in rows.index], axis=0)

    def _shown(self, size: int, setting: str | None) -> pd.DataFrame:
        wanted = self.table["size"] == size
        if setting is not None:
            wanted &= self.table.setting == setting
        return self.table[wanted | (self.table.method == BASE)]

    def _answers(self, rows: pd.DataFrame) -> dict[tuple[str, str], Answers]:
        """Returns the answers by setting and method, and by behaviour, averaged over seeds."""
        found: dict[tuple[str, str], Answers] = {}
        for (setting, method, behaviour), one in rows.groupby([*_METHOD, "behaviour"], sort=False):
            found.setdefault((setting, method), {})[behaviour] = self._over_seeds(one)
        return found

    def _means(
        self, answers: Mapping[tuple[str, str], Answers], behaviours: Sequence[str]
    ) -> dict[str, list[float]]:
        """Averages over behaviours.

        Args:
            answers: The answers by setting and method, and by behaviour.
            behaviours: The behaviours.

        Returns:
            Columns `mean`, `low` and `high`; nan where a behaviour is missing, or they are
            measured by different columns.
        """
        mixed = len({self.by[name] for name in behaviours}) > 1
        found: dict[str, list[float]] = {"mean": [], "low": [], "high": []}
        for given in answers.values():
            numbers = [float("nan")] * 3
            if not mixed and len(given) == len(behaviours):
                groups = [given[name] for name in behaviours]
                labels = [self.clusters.get(name) for name in behaviours]
                middle = np.mean([np.nanmean(group) for group in groups])
                numbers = [float(middle), *interval_of_mean(groups, labels)]
            for name, number in zip(found, numbers, strict=True):
                found[name].append(number)
        return found
