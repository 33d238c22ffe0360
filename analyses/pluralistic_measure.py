"""Distances of the answers from all groups: steered, really trained, or told the group."""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportGeneralTypeIssues=false, reportIndexIssue=false

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pandas as pd
from transformer_lens.model_bridge import TransformerBridge

from analyses.step_tables import last_streams
from coldlens.demo.world import group_persona, with_persona
from coldlens.evaluation import Evaluation, evaluate
from coldlens.examples.example import ExampleSet
from coldlens.references import moved_copy
from coldlens.steering.parametric import ParametricSteering
from coldlens.steering.steering import Steering
from coldlens.sweep.bank import Bank, Grid

Sets = Mapping[str, ExampleSet]
_BATCH = 81


def steered(
    steering: Steering, asked: Sets, tests: Sets, etas: Sequence[float], budget: float
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Chooses layer and step size on validation, and measures all groups' test questions there.

    Args:
        steering: The steering towards a group.
        asked: The group's `"validation"` questions, and facts as `"capability_validation"` and
            `"capability_test"`.
        tests: Test questions by group.
        etas: Step sizes relative to the residual stream.
        budget: Accuracy on the facts for validation that may be lost.

    Returns:
        A row a group and test question, and the choice: the cell with the least distance within
        the budget, or the unsteered model (eta 0) where none is closer.
    """
    model, layers = steering.model, steering.layers
    grid = Grid(layers, tuple(etas), "relative", "prompt", None, _BATCH)
    bank = Bank(model, asked, grid)
    sizes = last_streams(model, steering.prompts, layers).norm(dim=-1).mean(1)
    units = (sizes / steering.readings().norm(dim=-1).mean(1)).tolist()
    strengths = {
        layer: [(eta, eta * unit) for eta in etas]
        for layer, unit in zip(layers, units, strict=True)
    }
    cells = _means(bank.steered(steering, strengths))
    plain = _means(bank.unsteered().assign(layer=layers[0])).iloc[0]
    cells = cells[cells.facts_validation >= plain.facts_validation - budget - 1e-9]
    best = cells.iloc[cells.validation.argmin()] if len(cells) else plain
    choice = best if best.validation < plain.validation else plain
    layer, eta = int(choice.layer), float(choice.eta)
    found = _on_tests(tests, lambda test: evaluate(model, test, steering, layer, eta))
    return found, {
        **choice[["layer", "relative", "eta", "validation"]].to_dict(),
        "unsteered_validation": plain.validation,
        "facts_accuracy_change": choice.facts_test - plain.facts_test,
    }


def moved(steering: ParametricSteering, time: float, tests: Sets) -> pd.DataFrame:
    """Measures a copy of the model with the parameters themselves moved.

    Args:
        steering: What holds the direction v, of the parameters up to the last block.
        time: a, of θ − a v.
        tests: Test questions by group.

    Returns:
        A row a group and test question.
    """
    stepped = moved_copy(steering.model, steering.direction, -time)
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
