"""A float64 view of a model."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from transformer_lens.model_bridge import TransformerBridge

from coldlens.models.parameters import exchanged, parameters


@contextmanager
def in_double(model: TransformerBridge) -> Iterator[None]:
    """Lets the model be a float64 model with the same weights, without touching its own.

    Everything that asks the model for its parameters or its dtype inside gets float64.

    Args:
        model: The model.

    Yields:
        Nothing.
    """
    values = {
        name: nn.Parameter(found.tensor.detach().double(), requires_grad=False)
        for name, found in parameters(model).items()
    }
    with exchanged(model, values):
        yield
