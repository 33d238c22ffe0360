"""`SweepResult`: the folder of a sweep, read."""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportGeneralTypeIssues=false, reportIndexIssue=false

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from coldlens.checks import one_of
from coldlens.errors import ArgumentError, DataError
from coldlens.evaluation.bootstrap import Clusters, interval
from coldlens.plotting.sweep import sweep_figure
from coldlens.sweep import storage
from coldlens.sweep.bank import CAPABILITY, CELL
from coldlens.sweep.choices import Choices
from coldlens.sweep.choose import (
    OBJECTIVES,
    base_value,
    check_budget,
    choose_cells,
    objective,
    one_measure,
)
from coldlens.sweep.methods import BASE
from coldlens.sweep.unit import KEYS, Unit

UNRELATED_TEST = f"{CAPABILITY}test"

_PLACES = [name for name in CELL if name != "question"]


@dataclass(frozen=True, eq=False, repr=False)
class SweepResult:
    """What a sweep measured.

    Attributes:
        folder: Where it is: `sweep.json`, and in `cells/` a parquet file for each method of each
            unit.
        about: What was asked for: model and fingerprint, data by hash, settings, versions.
    """

    folder: Path
    about: dict[str, Any]

    @staticmethod
    def load(folder: str | Path) -> "SweepResult":
        """Opens the folder of a finished sweep.

        Args:
            folder: The folder.

        Returns:
            The result.

        Raises:
            DataError: If the folder is no sweep, or an unfinished one.
        """
        source = Path(folder)
        about = storage.read_about(source)
        left = storage.missing(source, about["cells"])
        if left:
            raise DataError(
                expected="a finished sweep",
                found=f"{len(left)} of {len(about['cells'])} files missing or damaged in {source}, "
                f"first {left[0]}",
                fix="Run sweep again with the same arguments and folder: it goes on",
            )
        return SweepResult(source, about)

    def save(self, folder: str | Path) -> Path:
        """Copies the folder.

        Args:
            folder: Where to; the result's own folder needs no copy.

        Returns:
            The folder.

        Raises:
            DataError: If something is there already.
        """
        target = Path(folder).resolve()
        if target == self.folder.resolve():
            return target
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise DataError(
                expected="a new or empty folder",
                found=f"{target}, which is neither",
                fix="Choose another folder",
            )
        shutil.copytree(self.folder, target, dirs_exist_ok=True)
        return target

    def __repr__(self) -> str:
        """Returns model, behaviours and methods in a line."""
        about = self.about
        return (
            f"<SweepResult on {about['model_id']}: {len(about['data'])} behaviours, "
            f"{len(about['cells'])} fits and baselines, layers {about['layers']}>"
        )

    @property
    def questions(self) -> pd.DataFrame:
        """Every measurement, read anew each time: a row a question and cell.

        Columns: behaviour, setting, method, size, seed; split (validation, test,
        capability_validation, capability_test), layer, relative, eta, question; the measurements;
        note, why there is none.
        """
        return pd.concat(
            [storage.read_cells(self.folder, name) for name in self.about["cells"]],
            ignore_index=True,
        )

    @cached_property
    def table(self) -> pd.DataFrame:
        """The means over questions: a row a cell and split, with their number as `questions`."""
        found = []
        for name in self.about["cells"]:
            rows = storage.read_cells(self.folder, name)
            names = [column for column in rows if column not in {*KEYS, *CELL, "note"}]
            groups = rows.astype(dict.fromkeys(names, float)).groupby(
                [*KEYS, *_PLACES], sort=False, dropna=False
            )
            means = (
                groups[names]
                .mean()
                .assign(questions=groups["question"].size(), note=groups["note"].first())
            )
            found.append(means.reset_index())
        table = pd.concat(found, ignore_index=True)
        last = ["questions", "note"]
        return table[[*(name for name in table if name not in last), *last]]

    def choices(self, budget: float = 0.05, by: str | None = None) -> pd.DataFrame:
        """Chooses layer and eta on the validation split, and reports on the test split.

        Args:
            budget: How much accuracy on the capability questions may be lost, on validation.
            by: `"probability"`, `"correct"`, or another measurement of `OBJECTIVES`; None for the
                first that was measured.

        Returns:
            A row a method, unit and `guarded` (whether the budget counted): layer, relative, eta;
            `by`; its means on `validation` and `test` with a 95 % bootstrap interval over questions
            or their clusters (`low`, `high`); `unsteered`, the same of the model itself, and
            `change`; `capability`, accuracy on the capability questions for the test, and
            `capability_change`; note.
        """
        both = [self._chosen(budget, by, guarded).table for guarded in (True, False)]
        return pd.concat(both).sort_index(kind="stable")

    def scores(
        self, budget: float = 0.05, by: str | None = None, *, guarded: bool = True
    ) -> pd.DataFrame:
        """Averages the choices over seeds.

        Args:
            budget: As in `choices`.
            by: As in `choices`.
            guarded: Whether the budget counts.

        Returns:
            A row a behaviour, setting, method and size: `test`, the mean over seeds, with a 95 %
            bootstrap interval over questions or their clusters (`low`, `high`); `lowest` and
            `highest` seed; `seeds`; `capability_change`.
        """
        return self._chosen(budget, by, guarded).scores()

    def main_table(
        self,
        size: int | None = None,
        setting: str | None = None,
        budget: float = 0.05,
        by: str | None = None,
        *,
        guarded: bool = True,
    ) -> pd.DataFrame:
        """Compares methods over behaviours at one size.

        Args:
            size: N; by default the largest.
            setting: One loss setting; by default all.
            budget: As in `choices`.
            by: As in `choices`.
            guarded: Whether the budget counts.

        Returns:
            A row a setting and method, sorted by average rank: a column a behaviour (mean over
            seeds on the test split), `mean` over behaviours with a 95 % bootstrap interval over
            questions or their clusters (`low`, `high`), `average_rank` among all rows (1 is best,
            ties share), and `capability_change`. The unsteered model has a row. Mean and rank are
            nan where a method could not be fitted for a behaviour, the mean also where behaviours
            are measured by different columns.
        """
        wanted = self._wanted(size, setting)
        return self._chosen(budget, by, guarded).main_table(wanted, setting)

    def differences(
        self,
        to: tuple[str, str],
        size: int | None = None,
        setting: str | None = None,
        budget: float = 0.05,
        by: str | None = None,
        *,
        guarded: bool = True,
    ) -> pd.DataFrame:
        """Compares each method with one, question by question.

        Args:
            to: Setting and method of the one, such as `("paired", "ColdFD")`.
            size: As in `main_table`.
            setting: As in `main_table`.
            budget: As in `choices`.
            by: As in `choices`.
            guarded: Whether the budget counts.

        Returns:
            A row a setting and method: `mean` over behaviours of what it has more than the one,
            with a 95 % bootstrap interval over questions or their clusters (`low`, `high`); nan
            where either lacks a behaviour.
        """
        wanted = self._wanted(size, setting)
        found = self._chosen(budget, by, guarded)
        _one_of("method", to, found.methods(wanted, setting))
        return found.differences(to, wanted, setting)

    def sample_efficiency(
        self, budget: float = 0.05, by: str | None = None, *, guarded: bool = True
    ) -> pd.DataFrame:
        """Says how the test score grows with the number of examples.

        Args:
            budget: As in `choices`.
            by: As in `choices`.
            guarded: Whether the budget counts.

        Returns:
            A row a setting, method and size: `mean` over behaviours and seeds, `lowest` and
            `highest` mean over behaviours of a seed.
        """
        return self._chosen(budget, by, guarded).sample_efficiency()

    def grid(
        self,
        method: str,
        split: str = "validation",
        by: str | None = None,
        setting: str | None = None,
    ) -> pd.DataFrame:
        """Returns the mean score of a method in each layer and eta, over behaviours and seeds.

        Args:
            method: Its label.
            split: The split.
            by: As in `choices`; one measurement for all behaviours.
            setting: One loss setting; by default the method's first.

        Returns:
            Layers by etas (relative or raw, as the sweep was asked).
        """
        _one_of("method", method, self.table.method.unique())
        _one_of("split", split, self.table.split.unique())
        columns = objective(self.table, by)
        one_measure(columns)
        rows = self.table[(self.table.method == method) & (self.table.split == split)]
        rows = rows[rows["size"] == rows["size"].max()]
        wanted = rows.setting.iloc[0] if setting is None else setting
        _one_of("setting", wanted, rows.setting.unique())
        step = "relative" if self.about["scale"] == "relative" else "eta"
        return rows[rows.setting == wanted].pivot_table(
            index="layer", columns=step, values=next(iter(columns.values())), dropna=False
        )

    def plot(
        self, method: str | None = None, budget: float = 0.05, by: str | None = None
    ) -> Figure:
        """Draws the main table, the sample efficiency where there are sizes, and a grid.

        Args:
            method: The method whose layers and etas are drawn, in its first setting; by default the
                best, in its best.
            budget: As in `choices`.
            by: As in `choices`.

        Returns:
            The figure, not shown.
        """
        table = self.main_table(budget=budget, by=by)
        layered = self.table[self.table.layer.notna()].method.unique()
        best = next((key for key in table.index if key[1] in layered), (None, None))
        setting, shown = best if method is None else (None, method)
        curves = self.sample_efficiency(budget, by) if len(self.about["sizes"]) > 1 else None
        columns = objective(self.table, by)
        one_measure(columns)
        return sweep_figure(
            table,
            curves,
            None if shown is None else self.grid(shown, by=by, setting=setting),
            shown or "",
            next(iter(columns.values())),
            self.about["model_id"],
        )

    def _chosen(self, budget: float, by: str | None, guarded: bool) -> Choices:
        if by is not None:
            one_of("by", by, tuple(OBJECTIVES))
        known = self._choices.get((budget, by, guarded))
        if known is None:
            known = self._choices[budget, by, guarded] = self._choose(budget, by, guarded)
        return known

    @cached_property
    def _choices(self) -> dict[tuple[float, str | None, bool], Choices]:
        return {}

    def _choose(self, budget: float, by: str | None, guarded: bool) -> Choices:
        check_budget(budget)
        columns, labels = objective(self.table, by), self._clusters
        chosen = choose_cells(self.table, columns, budget)
        chosen = chosen[chosen.guarded == guarded]
        answers, extra = {}, []
        for place, row in chosen.iterrows():
            unit = Unit.base(row.behaviour).key(BASE) if row.note else tuple(row[KEYS])
            cells = storage.read_cells(self.folder, storage.cell_name(unit))
            if not pd.isna(row.layer):
                cells = cells[(cells.layer == row.layer) & (cells.eta == row.eta)]
            test = cells[cells.split == "test"][row.by].to_numpy(dtype=float)
            unrelated = cells[cells.split == UNRELATED_TEST]
            kept = unrelated.correct.mean() if len(unrelated) else float("nan")
            before = base_value(self.table, row.behaviour, "test", row.by)
            old = base_value(self.table, row.behaviour, UNRELATED_TEST, "correct")
            low, high = interval(test, labels.get(row.behaviour))
            answers[place] = test
            extra.append((test.mean(), low, high, before, test.mean() - before, kept, kept - old))
        names = ["test", "low", "high", "unsteered", "change", "capability", "capability_change"]
        found = chosen.join(pd.DataFrame(extra, index=list(answers), columns=names))
        return Choices(found[[*found.columns.drop("note"), "note"]], answers, columns, labels)

    @property
    def _clusters(self) -> dict[str, Clusters]:
        known = self.about["clusters"]
        return {behaviour: [tuple(one) for one in known[behaviour]] for behaviour in known}

    def _wanted(self, size: int | None, setting: str | None) -> int:
        wanted = max(self.about["sizes"]) if size is None else size
        _one_of("size", wanted, self.about["sizes"])
        if setting is not None:
            _one_of("setting", setting, self.table.setting.unique())
        return wanted


def _one_of(what: str, value: Any, known: Iterable[Any]) -> None:
    if value not in list(known):
        raise ArgumentError(
            expected=f"a {what} among {list(known)}", found=repr(value), fix="See .table"
        )
