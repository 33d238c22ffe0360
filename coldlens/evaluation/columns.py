"""What a metric gives: columns of its own, one number a question."""

import reprlib
from collections.abc import Collection, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from coldlens.errors import ArgumentError

Columns = dict[str, Float[Tensor, " question"]]

PREFIX = "unsteered_"
"""Before the name of a measurement without steering."""

_TAKEN = {
    *("question", "text", "repetition", "score"),
    *("steered", "measured"),
    *("behaviour", "setting", "method", "size", "seed"),
    *("split", "layer", "relative", "eta", "questions", "note"),
}
"""Columns of the tables of `evaluate` with its `Generation`, of `specificity` and of sweeps."""


def require_names(metric: object, names: Collection[str], others: Collection[str]) -> None:
    """Checks that the columns of a metric have names of their own.

    Args:
        metric: The metric.
        names: Its columns.
        others: Those of the metrics before it.

    Raises:
        ArgumentError: If a name stands for something else in a table.
    """
    for name in names:
        if name in others:
            found = f"{name!r}, which a metric before it gives too"
        elif name in _TAKEN or name.startswith((PREFIX, "cluster_")):
            found = f"{name!r}, which stands for something else in a table"
        else:
            continue
        raise ArgumentError(
            expected=f"columns of {metric!r} with names of their own",
            found=found,
            fix="Ask for each metric once, and name the columns of one's own differently",
        )


def checked(metric: object, given: Any, questions: int) -> Columns:
    """Checks what a metric measured.

    Args:
        metric: The metric.
        given: What its `measure` returned.
        questions: How many questions it measured.

    Returns:
        The columns, detached, in float32 or better.

    Raises:
        ArgumentError: If it is no dictionary of tensors with a real number a question.
    """
    fault = _fault(given, questions)
    if fault is not None:
        raise ArgumentError(
            expected=f"{metric!r}.measure to return {{column: tensor of shape ({questions},)}}, "
            "a real number a question",
            found=fault,
            fix="Return a dictionary of tensors, as in {'entropy': values}",
        )
    return {
        name: values.detach().to(torch.promote_types(values.dtype, torch.float32))
        for name, values in given.items()
    }


def _fault(given: Any, questions: int) -> str | None:
    if not isinstance(given, Mapping):
        return reprlib.repr(given)
    for name, values in given.items():
        if not isinstance(name, str):
            return f"{name!r} as the name of a column"
        if not isinstance(values, Tensor):
            return f"{type(values).__name__} as {name!r}"
        if values.shape != (questions,) or values.is_complex():
            return f"{values.dtype} of shape {tuple(values.shape)} as {name!r}"
    return None if given else "no column"
