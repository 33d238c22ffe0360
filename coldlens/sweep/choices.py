"""`Choices`: chosen cells with what they give on the test split, averaged and ranked."""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportGeneralTypeIssues=false, reportIndexIssue=false

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from coldlens.evaluation.bootstrap import interval, interval_of_mean
from coldlens.sweep.choose import average_ranks
from coldlens.sweep.methods import BASE
from coldlens.sweep.unit import KEYS

_METHOD = ["setting", "method"]


@dataclass(frozen=True, eq=False)
class Choices:
    """One chosen cell for each method of each unit.

    Attributes:
        table: A row a choice: those of `choose_cells`, and what the cell gives on the test split.
        answers: By index of the table, the measurement of each test question.
        by: What each behaviour is measured by.
    """

    table: pd.DataFrame
    answers: Mapping[Hashable, Float[np.ndarray, " _"]]
    by: Mapping[str, str]

    def scores(self) -> pd.DataFrame:
        """Averages over seeds.

        Returns:
            A row a behaviour, setting, method and size: `test`, the mean over seeds, with a 95 %
            bootstrap interval over questions (`low`, `high`); `lowest` and `highest` seed;
            `seeds`; `capability_change`.
        """
        keys = [key for key in KEYS if key != "seed"]
        rows = [
            (
                *key,
                rows.test.mean(),
                *interval(self._over_seeds(rows)),
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
        table = self.table
        wanted = table["size"] == size
        if setting is not None:
            wanted &= table.setting == setting
        shown = table[wanted | (table.method == BASE)]
        values = shown.pivot_table(index=_METHOD, columns="behaviour", values="test", sort=False)
        ends = pd.DataFrame.from_dict(
            {key: self._over_behaviours(rows) for key, rows in shown.groupby(_METHOD, sort=False)},
            orient="index",
        )
        found = values.assign(
            mean=values.mean(axis=1),
            low=ends[0].to_numpy(),
            high=ends[1].to_numpy(),
            average_rank=average_ranks(values, self.by),
            capability_change=shown.groupby(_METHOD, sort=False).capability_change.mean(),
        )
        return found.sort_values("average_rank", kind="stable").rename_axis(columns=None)

    def sample_efficiency(self) -> pd.DataFrame:
        """Averages over behaviours, by size.

        Returns:
            A row a setting, method and size: `mean` over behaviours and seeds, `lowest` and
            `highest` mean over behaviours of a seed.
        """
        index = [*_METHOD, "size"]
        seeds = self.table.groupby([*index, "seed"], sort=False).test.mean().reset_index()
        found = seeds.groupby(index, sort=False).test.agg(["mean", "min", "max"]).reset_index()
        found = found.rename(columns={"min": "lowest", "max": "highest"})
        return found.sort_values(index, ignore_index=True, kind="stable")

    def _over_seeds(self, rows: pd.DataFrame) -> Float[np.ndarray, " question"]:
        return np.mean([self.answers[place] for place in rows.index], axis=0)

    def _over_behaviours(self, rows: pd.DataFrame) -> tuple[float, float]:
        groups = [self._over_seeds(found) for _, found in rows.groupby("behaviour", sort=False)]
        return interval_of_mean(groups)
