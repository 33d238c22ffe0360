"""Forward passes that read the residual stream, stop early and leave no trace."""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import Module
from transformer_lens.model_bridge import TransformerBridge

from coldlens.models.guards import hook_name
from coldlens.models.precision import full_precision

Edit = Callable[[int, Tensor], Tensor | None]
"""Called with a layer and its residual stream; returns a replacement, or None to leave it."""

_measuring: ContextVar[bool] = ContextVar("coldlens_measuring", default=False)


def measuring() -> bool:
    """Returns whether coldlens itself runs the model, so that steering must stand aside."""
    return _measuring.get()


class _StopForward(Exception):  # noqa: N818 - control flow, not an error
    """Raised by the deepest hook when nothing after it is needed."""


def residuals(
    model: TransformerBridge,
    tokens: Int[Tensor, "row pos"],
    attention_mask: Bool[Tensor, "row pos"],
    layers: Sequence[int],
    *,
    edit: Edit | None = None,
    logits: bool | Bool[Tensor, "row pos"] = False,
) -> tuple[dict[int, Float[Tensor, "row pos d"]], Float[Tensor, "*token vocab"] | None]:
    """Runs the model on padded tokens and reads `blocks.{l}.hook_resid_post`.

    Steering contexts that are open around the call do not act on it: coldlens always measures
    the model itself. The model sees the real tokens first and the padding last, where a causal
    model needs no mask and position ids are those of the row alone, so padding changes no value
    at a real token; tensors come and go in the caller's layout. Float64 parameters compute in
    float64 throughout (`full_precision`), and autocast does not act.

    Args:
        model: The model.
        tokens: Token ids.
        attention_mask: True at real tokens.
        layers: The layers to read, at least one.
        edit: Called at every layer read, in order; its result replaces the residual stream and
            is what is returned for that layer.
        logits: Run to the end and return logits too: True for those of every token, or a mask
            for those of some real tokens, so that no others are unembedded. Otherwise stop after
            the deepest layer.

    Returns:
        The residual stream by layer; and the logits [row, pos, vocabulary], those under the mask
        [token, vocabulary] row after row, or None.
    """
    deepest, found, points = max(layers), {}, model.hook_dict
    some = logits if isinstance(logits, Tensor) else None
    handles = []
    layout = _Layout(attention_mask)

    def read(layer: int, residual: Tensor) -> Tensor | None:
        found[layer] = layout.outward(residual)
        replacement = edit(layer, found[layer]) if edit else None
        if replacement is not None:
            found[layer] = replacement
        if layer == deepest and logits is False:
            raise _StopForward
        return None if replacement is None else layout.inward(replacement)

    def hook_at(layer: int) -> Callable[[Module, Any, Any], Tensor | None]:
        return lambda _module, _inputs, output: read(layer, output)

    token = _measuring.set(True)
    try:
        for layer in layers:
            point = points[hook_name(layer)]
            handles.append(point.register_forward_hook(hook_at(layer)))
        if some is not None:
            wanted = layout.inward(some)
            handles.append(model.unembed.register_forward_pre_hook(_picking(wanted)))
        packed = layout.inward(tokens)
        with full_precision(model), torch.autocast(packed.device.type, enabled=False):
            result = model(
                packed,
                attention_mask=torch.ones_like(packed),
                return_type="logits",
                use_cache=False,
            )
        result = layout.outward(result) if some is None else result[0]
    except _StopForward:
        result = None
    finally:
        for handle in handles:
            handle.remove()
        _measuring.reset(token)
    return found, result


def _picking(wanted: Bool[Tensor, "row pos"]) -> Callable[[Module, Any], tuple[Tensor]]:
    """Returns a hook that keeps only some tokens, as one row."""
    return lambda _module, inputs: (inputs[0][wanted].unsqueeze(0),)


class _Layout:
    """Moves the real tokens of each row to its front, and back; nothing where they are there."""

    def __init__(self, mask: Bool[Tensor, "row pos"]) -> None:
        self._order = (~mask).to(torch.int8).argsort(dim=1, stable=True)
        self._back = self._order.argsort(dim=1)
        self._packed = bool((self._order.diff(dim=1) > 0).all())

    def inward(self, values: Tensor) -> Tensor:
        return self._moved(values, self._order)

    def outward(self, values: Tensor) -> Tensor:
        return self._moved(values, self._back)

    def _moved(self, values: Tensor, order: Tensor) -> Tensor:
        if self._packed:
            return values
        index = order.reshape(*order.shape, *[1] * (values.ndim - 2))
        return values.gather(1, index.expand_as(values))
