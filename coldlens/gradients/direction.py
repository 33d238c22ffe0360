"""A direction in parameter space: by parameter name, a tensor or a sum of outer products."""

import math
from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from coldlens.gradients.factored import Factored
from coldlens.vectors import numbers

Part = Tensor | Factored
"""The part of a direction that one parameter has."""

Direction = Mapping[str, Part]
"""By parameter name; parameters that are missing do not move."""


def inner(one: Direction, other: Direction) -> float:
    """Returns the Euclidean inner product of two directions.

    Args:
        one: A direction.
        other: Another one.

    Returns:
        Σ over the parameters that both have.
    """
    parts = [_inner(one[name], other[name]) for name in one if name in other]
    return sum(numbers(parts))


def _inner(one: Part, other: Part) -> Float[Tensor, ""]:
    if isinstance(one, Factored) and isinstance(other, Factored):
        return one.inner(other)
    left, right = (part.dense() if isinstance(part, Factored) else part for part in (one, other))
    return (left * right).sum()


def norm(direction: Direction) -> float:
    """Returns the Euclidean norm of all parts together.

    Args:
        direction: The direction.

    Returns:
        The norm.
    """
    sizes = [
        part.inner(part).sqrt() if isinstance(part, Factored) else part.norm()
        for part in direction.values()
    ]
    return math.hypot(*numbers(sizes))


def packed(direction: Direction) -> dict[str, Tensor]:
    """Returns the tensors of a direction, for a file.

    Args:
        direction: The direction.

    Returns:
        By name, or by name and part for outer products.
    """
    tensors: dict[str, Tensor] = {}
    for name, part in direction.items():
        if isinstance(part, Factored):
            tensors |= {f"{name}:{key}": value for key, value in part.parts.items()}
        else:
            tensors[name] = part
    return tensors


def unpacked(tensors: Mapping[str, Tensor]) -> dict[str, Part]:
    """Returns the direction that `packed` was given.

    Args:
        tensors: The tensors.

    Returns:
        The direction.
    """
    direction: dict[str, Part] = {}
    factors: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        name, _, part = key.partition(":")
        if part:
            factors.setdefault(name, {})[part] = value
        else:
            direction[name] = value
    return direction | {name: Factored(**parts) for name, parts in factors.items()}
