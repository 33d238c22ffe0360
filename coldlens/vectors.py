"""Cosines of vectors, how well several of them agree, and numbers that the host reads."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


def cosine(first: Float[Tensor, "*a d"], second: Float[Tensor, "*b d"]) -> Float[Tensor, "*c"]:
    """Returns the cosine of vectors along the last axis; nan where one of them is zero.

    Args:
        first: Vectors.
        second: Vectors, of a shape that broadcasts with the first.

    Returns:
        Cosines.
    """
    products = (first * second).sum(-1)
    return products / (first.norm(dim=-1) * second.norm(dim=-1))


def coherence(samples: Float[Tensor, "layer sample d"]) -> Float[Tensor, " layer"]:
    """Returns the mean pairwise cosine of several vectors, a layer at a time.

    1 when all point the same way, about 0 for unrelated ones; nan for a single vector, or where
    one is zero.

    Args:
        samples: Several vectors a layer.

    Returns:
        One number a layer.
    """
    count = samples.shape[1]
    if count == 1:
        return samples.new_full((samples.shape[0],), float("nan"))
    units = samples / samples.norm(dim=-1, keepdim=True)
    return (units.sum(1).square().sum(-1) - count) / (count * (count - 1))


def numbers(values: Sequence[Shaped[Tensor, ""]]) -> list[float]:
    """Reads the values of tensors on any devices; the host waits for a device once, not for each.

    Args:
        values: Tensors of one number, or truth value.

    Returns:
        The numbers.
    """
    found = [value.to(values[0].device) for value in values]
    return [float(value) for value in torch.stack(found).tolist()] if found else []
