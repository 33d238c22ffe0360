"""Weights that are made anew for each operation: cast to another dtype, or loaded."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

_aten = torch.ops.aten
_VIEWS = {
    _aten.detach.default,
    _aten.select.int,
    _aten.t.default,
    _aten.transpose.int,
    _aten.view.default,
}


class Deferred(Tensor):
    """`fetch().to(device, dtype)` without memory of its own.

    Autograd, forward mode and `torch.func` see a tensor of that device and dtype, and keep no more
    of it than what fetches the weight. Each operation makes the value for itself and drops it: the
    numbers are those of a copy, bit for bit. A view is one of the weight, and an embedding converts
    only the rows that it looks up. Beside a tangent of its own (`forward_ad.make_dual`) it is the
    copy.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl  # pyright: ignore[reportAssignmentType]
    _fetch: Callable[[], Tensor]
    _like: Tensor

    @staticmethod
    @torch.inference_mode(False)
    def __new__(
        cls, fetch: Callable[[], Tensor], like: Tensor, dtype: torch.dtype, device: torch.device
    ) -> "Deferred":
        """Returns a tensor laid out as another one; one with versions, as views need them."""
        made = Tensor._make_wrapper_subclass(
            cls,
            like.shape,
            strides=like.stride(),
            storage_offset=like.storage_offset(),
            storage_size=0,
            dtype=dtype,
            device=device,
        )
        made._fetch, made._like = fetch, like
        return made

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Returns what the operation gives with the value."""
        kwargs = kwargs or {}
        if func is _aten.embedding.default:
            weight, kept = args[0], args[0]._fetch()
            found = func(kept, args[1].to(kept.device), *args[2:], **kwargs)
            return found.to(weight.device, weight.dtype)
        if func in _VIEWS:
            return _view(args[0], lambda one: func(one, *args[1:], **kwargs))
        args, kwargs = tree_map_only(
            Deferred, lambda one: one._fetch().to(one.device, one.dtype), (args, kwargs)
        )
        return func(*args, **kwargs)


def _view(weight: Deferred, view: Callable[[Tensor], Tensor]) -> Deferred:
    fetch = weight._fetch
    return Deferred(lambda: view(fetch()), view(weight._like), weight.dtype, weight.device)


def cast(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns a weight in another dtype, without a copy of it.

    Args:
        weight: The weight, without a graph.
        dtype: The dtype to compute in.

    Returns:
        The weight itself where it has the dtype already; a vector, which is small, as a copy.
    """
    if weight.dtype == dtype or weight.ndim < 2:
        return weight.to(dtype)
    if isinstance(weight, Deferred):
        return Deferred(weight._fetch, weight._like, dtype, weight.device)
    return Deferred(lambda: weight, weight, dtype, weight.device)
