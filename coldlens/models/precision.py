"""Float64 models without float32 inside: what Hugging Face casts down stays in float64."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from transformer_lens.model_bridge import TransformerBridge


def full_precision(model: TransformerBridge) -> AbstractContextManager[Any]:
    """Keeps the computations of a float64 model in float64, while it is entered.

    Hugging Face computes RMSNorm, rotary embeddings and the softmax of attention in float32
    whatever the dtype of the weights, so that a float64 model is only good to 1e-7, and forward
    and reverse mode, which round different things there, differ by as much. Here it is good to
    1e-14. Models in other dtypes compute as they always do.

    Args:
        model: The model, with the parameters that it will compute with.

    Returns:
        The context manager.
    """
    double = next(model.original_model.parameters()).dtype == torch.float64
    return _Float64() if double else nullcontext()


class _Float64(TorchFunctionMode):
    """Turns every request for float32 into one for float64."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Returns what the function gives with float64 where float32 was asked for."""
        if func is torch.Tensor.float:
            func = torch.Tensor.double
        args = tuple(torch.float64 if value is torch.float32 else value for value in args)
        named = {
            name: torch.float64 if value is torch.float32 else value
            for name, value in (kwargs or {}).items()
        }
        return func(*args, **named)
