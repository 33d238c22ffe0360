"""The choice of layer and eta on the validation split, under a budget of lost capability."""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportGeneralTypeIssues=false, reportIndexIssue=false

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from transformer_lens.model_bridge import TransformerBridge

from coldlens.checks import is_real
from coldlens.errors import ArgumentError
from coldlens.evaluation.metrics import choose_metrics
from coldlens.examples.tokens import encode
from coldlens.sweep.bank import CAPABILITY
from coldlens.sweep.methods import BASE
from coldlens.sweep.splits import Splits
from coldlens.sweep.unit import KEYS

OBJECTIVES: dict[str, int] = {
    "probability": 1,
    "margin": 1,
    "total_variation": -1,
    "nll": -1,
    "correct": 1,
    "logit_difference": 1,
    "prefers": 1,
    "kl_from_group": -1,
}
"""Columns to choose by: 1 where more is better. The first that was measured is the default."""

PLACE = ["layer", "relative", "eta"]
_ROUNDING = 1e-9


def check_objective(model: TransformerBridge, data: Mapping[str, Splits], by: str | None) -> None:
    """Checks, before a sweep with the default metrics, that one column will be measured of all.

    Args:
        model: The model.
        data: The splits by behaviour.
        by: The column to choose by, or None for the default.
    """
    found = {}
    for behaviour, splits in data.items():
        questions = splits.validation
        metrics = choose_metrics(None, questions, encode(model, questions))
        given = {name for metric in metrics for name in metric.columns}
        found[behaviour] = _chosen(behaviour, [name for name in OBJECTIVES if name in given], by)
    one_measure(found)


def one_measure(by: Mapping[str, str]) -> None:
    """Checks that all behaviours are measured by the same, so that their mean says something.

    Args:
        by: What each is measured by.

    Raises:
        ArgumentError: If they are not.
    """
    if len(set(by.values())) > 1:
        raise ArgumentError(
            expected="one measurement for all behaviours",
            found=", ".join(f"{column} of {behaviour}" for behaviour, column in by.items()),
            fix="Sweep them apart, or choose by a measurement that all have",
        )


def check_budget(budget: Any) -> None:
    """Checks how much accuracy may be lost.

    Args:
        budget: What was given.

    Raises:
        ArgumentError: If it is no share.
    """
    if not is_real(budget) or not 0 <= budget <= 1:
        raise ArgumentError(
            expected="a budget between 0 and 1, the accuracy that may be lost",
            found=f"budget = {budget!r}",
            fix="0.05 allows five of a hundred unrelated questions, 1 any loss",
        )


def objective(table: pd.DataFrame, by: str | None) -> dict[str, str]:
    """Says what each behaviour is chosen by.

    Args:
        table: `SweepResult.table`.
        by: A column of `OBJECTIVES`, or None for the default of each behaviour.

    Returns:
        Columns by behaviour.
    """
    found = {}
    for behaviour, rows in table[table.split == "validation"].groupby("behaviour", sort=False):
        known = [name for name in OBJECTIVES if name in rows and rows[name].notna().any()]
        found[str(behaviour)] = _chosen(str(behaviour), known, by)
    return found


def choose_cells(table: pd.DataFrame, by: Mapping[str, str], budget: float) -> pd.DataFrame:
    """Chooses layer and eta for each method of each unit, with the budget and without.

    Of the cells with the best mean on the validation split, the one with the smallest relative eta
    is chosen, then the lowest layer. Guarded, only cells count whose accuracy on the capability
    questions for validation is at most `budget` below the unsteered model's; without such questions
    all do. Where no cell is left, the model stays unsteered.

    Args:
        table: `SweepResult.table`.
        by: What each behaviour is chosen by.
        budget: The accuracy that may be lost.

    Returns:
        Columns behaviour, setting, method, size, seed, guarded, layer, relative, eta, by,
        validation, note. An unsteered model has no layer, and eta 0.
    """
    validation = table[table.split == "validation"].reset_index(drop=True)
    lost = _lost(table, validation)
    rows = []
    for key, cells in validation.groupby(KEYS, sort=False):
        behaviour = key[0]
        column = by[behaviour]
        order = cells.assign(score=-OBJECTIVES[column] * cells[column], lost=lost[cells.index])
        order = order[order.score.notna()].sort_values(["score", "relative", "layer"])
        for guarded in (True, False):
            allowed = order[order.lost <= budget + _ROUNDING] if guarded else order
            row = dict(zip(KEYS, key, strict=True)) | {"guarded": guarded, "by": column}
            if len(allowed):
                best = allowed.iloc[0]
                row |= {name: best[name] for name in PLACE}
                row |= {"validation": best[column], "note": ""}
            else:
                note = cells.note.iloc[0] if not len(order) else "no cell is within the budget"
                row |= dict.fromkeys(PLACE, 0.0) | {
                    "layer": pd.NA,
                    "validation": base_value(table, behaviour, "validation", column),
                    "note": f"left unsteered: {note}",
                }
            rows.append(row)
    found = pd.DataFrame(rows).astype({"layer": "Int64"})
    return found[[*KEYS, "guarded", *PLACE, "by", "validation", "note"]]


def base_value(table: pd.DataFrame, behaviour: str, split: str, column: str) -> float:
    """Returns a mean of the unsteered model.

    Args:
        table: `SweepResult.table`.
        behaviour: The behaviour.
        split: The split.
        column: The measurement.

    Returns:
        The mean; nan where it was not measured.
    """
    rows = table[(table.behaviour == behaviour) & (table.method == BASE) & (table.split == split)]
    return float(rows[column].iloc[0]) if len(rows) and column in rows else float("nan")


def average_ranks(values: pd.DataFrame, by: Mapping[str, str]) -> pd.Series:
    """Ranks the rows in each column, the best as 1, and averages over columns.

    Args:
        values: A row a method, a column a behaviour.
        by: What each behaviour is measured by, for its sign.

    Returns:
        The average rank of each row; ties, up to 1e-6, share the mean of their ranks; nan where a
        value is missing.
    """
    signed = values.round(6) * pd.Series(
        {name: OBJECTIVES[by[str(name)]] for name in values.columns}
    )
    return signed.rank(ascending=False, method="average").mean(axis=1, skipna=False)


def _chosen(behaviour: str, known: Sequence[str], by: str | None) -> str:
    if not known or (by is not None and by not in known):
        raise ArgumentError(
            expected=f"by among {known}, which are measured of {behaviour}",
            found=f"by = {by!r}",
            fix="Pass by=None for the default",
        )
    return by or known[0]


def _lost(table: pd.DataFrame, validation: pd.DataFrame) -> pd.Series:
    """Returns the accuracy on the capability questions that each cell loses; 0 where unknown."""
    unrelated = table[table.split == f"{CAPABILITY}validation"]
    if not len(unrelated):
        return pd.Series(0.0, index=validation.index)
    keys = [*KEYS, "layer", "relative"]
    kept = validation[keys].merge(unrelated[[*keys, "correct"]], on=keys, how="left").correct
    before = {
        name: base_value(table, name, f"{CAPABILITY}validation", "correct")
        for name in validation.behaviour.unique()
    }
    return validation.behaviour.map(before).astype(float) - kept.astype(float)
