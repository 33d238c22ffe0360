"""What the methods in parameter space share."""

from collections.abc import Mapping

import torch
from torch import Tensor

from coldlens.capture import Needs
from coldlens.examples.example import ExampleSet
from coldlens.losses import Loss, default_loss, sides_of


def parameter_needs(loss: Loss | None, examples: ExampleSet) -> Needs:
    """Says that a method needs g, after checking that the examples have what the loss reads.

    Args:
        loss: The loss, or None for the default.
        examples: The examples.

    Returns:
        The needs.
    """
    chosen = loss or default_loss(examples)
    sides_of(chosen, examples)
    return Needs(parameter_gradients=frozenset({chosen}))


def global_norm(tensors: Mapping[str, Tensor]) -> float:
    """Returns the Euclidean norm of all tensors together."""
    return torch.stack([tensor.norm() for tensor in tensors.values()]).norm().item()
