"""Distances of the answers from all groups: steered, really trained, or told the group."""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportGeneralTypeIssues=false, reportIndexIssue=false

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from transformer_lens.model_bridge import TransformerBridge

from analyses.pluralistic_tables import ALL, EACH
from analyses.step_tables import last_streams
from coldlens.demo.world import group_persona, with_persona
from coldlens.evaluation import Evaluation, evaluate
from coldlens.examples.example import ExampleSet
from coldlens.references import moved_copy
from coldlens.steering.parametric import DifferenceSteering
from coldlens.steering.steering import Steering
from coldlens.sweep.bank import Bank, Grid

Sets = Mapping[str, ExampleSet]
_BATCH = 81
_OWN = -1.0
"""In place of a relative step size."""


def cells(
    steering: Steering, asked: Sets, etas: Sequence[float], own: float | None = None
) -> pd.DataFrame:
    """Measures the layers and step sizes to choose from.

    Args:
        steering: The steering towards a group.
        asked: The group's `"validation"` questions, and facts as `"capability_validation"` and
            `"capability_test"`.
        etas: Step sizes relative to the residual stream.
        own: Another step size, not relative: what the simulated steps themselves stand for.

    Returns:
        A row a cell, the unsteered model (strength "0") the first: `layer`, `strength` (the
        relative step size, or "own"), `eta`, the mean distance on `validation`, and the accuracies
        `facts_validation` and `facts_test`.
    """
    model, layers = steering.model, steering.layers
    grid = Grid(layers, tuple(etas), "relative", "prompt", None, _BATCH)
    bank = Bank(model, asked, grid)
    sizes = last_streams(model, steering.prompts, layers).norm(dim=-1).mean(1)
    units = (sizes / steering.readings().norm(dim=-1).mean(1)).tolist()
    strengths = {
        layer: [(eta, eta * unit) for eta in etas] + ([(_OWN, own)] if own is not None else [])
        for layer, unit in zip(layers, units, strict=True)
    }
    plain = _means(bank.unsteered().assign(layer=layers[0]))
    found = pd.concat([plain, _means(bank.steered(steering, strengths))], ignore_index=True)
    names = ["own" if relative == _OWN else f"{relative:g}" for relative in found.relative]
    return found.assign(strength=names).drop(columns="relative")


def chosen_cells(found: Mapping[str, pd.DataFrame], budget: float) -> list[dict[str, Any]]:
    """Chooses a layer and strength for all groups together, and one for each.

    Args:
        found: What `cells` returned, by group.
        budget: Mean accuracy on the facts for validation that may be lost.

    Returns:
        Two rows a group, what was `chosen` for all and for it alone: the cell with the least mean
        distance on validation within the budget, or the unsteered model where none is closer.
    """
    together = _best(pd.concat(found.values(), ignore_index=True), budget)
    rows = []
    for group, table in found.items():
        plain, by_key = table.iloc[0], table.set_index(["layer", "strength"])
        for chosen, key in ((ALL, together), (EACH, _best(table, budget))):
            cell = by_key.loc[key]
            rows.append(
                {
                    "chosen": chosen,
                    "group": group,
                    "layer": key[0],
                    "strength": key[1],
                    "eta": float(cell.eta),
                    "validation": cell.validation,
                    "unsteered_validation": plain.validation,
                    "facts_accuracy_change": cell.facts_test - plain.facts_test,
                }
            )
    return rows


def _best(found: pd.DataFrame, budget: float) -> tuple[int, str]:
    means = found.groupby(["layer", "strength"], sort=False).mean(numeric_only=True)
    # The unsteered model is the first, so that nothing else wins a tie.
    kept = means.facts_validation >= means.facts_validation.iloc[0] - budget - 1e-9
    return means[kept].validation.idxmin() if kept.any() else means.index[0]


def steered(steering: Steering, layer: int, eta: float, tests: Sets) -> pd.DataFrame:
    """Measures all groups' test questions.

    Args:
        steering: The steering.
        layer: The layer.
        eta: The step size.
        tests: Test questions by group.

    Returns:
        A row a group and test question.
    """
    return _on_tests(tests, lambda test: evaluate(steering.model, test, steering, layer, eta))


def moved(steering: DifferenceSteering, tests: Sets) -> pd.DataFrame:
    """Measures a copy of the model whose parameters move as the steering moves them.

    Args:
        steering: What holds the move of the parameters up to the last block.
        tests: Test questions by group.

    Returns:
        A row a group and test question.
    """
    stepped = moved_copy(steering.model, steering.direction, steering.step)
    return _beside(tests, lambda test: evaluate(stepped, test), steering.model)


def told(model: TransformerBridge, group: str, tests: Sets) -> pd.DataFrame:
    """Measures the model with prompts that name a group after the question.

    Args:
        model: The model.
        group: The group that is named.
        tests: Test questions by group.

    Returns:
        A row a group and test question.
    """

    def ask(test: ExampleSet) -> Evaluation:
        named = tuple(
            replace(one, prompt=with_persona(str(one.prompt), group_persona(group), "after"))
            for one in test
        )
        return evaluate(model, replace(test, examples=named))

    return _beside(tests, ask, model)


def _beside(
    tests: Sets, ask: Callable[[ExampleSet], Evaluation], model: TransformerBridge
) -> pd.DataFrame:
    # Without a steering there are no unsteered columns, so the model itself is asked too.
    plain = _on_tests(tests, lambda test: evaluate(model, test))
    found = _on_tests(tests, ask)
    return found.assign(unsteered_total_variation=plain.total_variation)


def _on_tests(tests: Sets, ask: Callable[[ExampleSet], Evaluation]) -> pd.DataFrame:
    parts = [ask(test).table.assign(measured=group) for group, test in tests.items()]
    return pd.concat(parts, ignore_index=True)


def _means(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns a row a cell: the distance on validation and the accuracies on facts."""
    columns = {
        "validation": ("validation", "total_variation"),
        "facts_validation": ("capability_validation", "correct"),
        "facts_test": ("capability_test", "correct"),
    }
    cells = {
        name: rows[rows.split == split].groupby(["layer", "relative", "eta"])[column].mean()
        for name, (split, column) in columns.items()
    }
    return pd.DataFrame(cells).reset_index()
