"""Float64 without islands: computations that Hugging Face casts to float32 stay in float64."""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class WithoutIslands(TorchFunctionMode):
    """Turns every request for float32 into one for float64, while it is entered.

    RMSNorm, rotary embeddings and the softmax of attention compute in float32 whatever the dtype
    of the weights, so a float64 model is only good to 1e-7. Under this mode it is good to 1e-14,
    and two computations that differ in the eighth digit are told apart.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Calls the function with float64 where float32 was asked for."""
        if func is torch.Tensor.float:
            func = torch.Tensor.double
        args = tuple(torch.float64 if value is torch.float32 else value for value in args)
        named = {
            name: torch.float64 if value is torch.float32 else value
            for name, value in (kwargs or {}).items()
        }
        return func(*args, **named)
