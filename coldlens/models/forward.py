"""Forward passes that read the residual stream, stop early and leave no trace."""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import Module
from transformer_lens.hook_points import HookPoint
from transformer_lens.model_bridge import TransformerBridge

from coldlens.models.guards import hook_name
from coldlens.models.hooks import watched
from coldlens.models.precision import full_precision

Edit = Callable[[int, Tensor], Tensor | None]
"""Called with a layer and its residual stream; returns a replacement, or None to leave it."""

_BEFORE = ("_original_component", "attn", "ln1", "ln2")
"""Parts of a block that do not see what its MLP does."""

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
    at a real token; tensors come and go in the caller's layout and on the device of the tokens,
    wherever a sharded model has its blocks. Float64 parameters compute in float64 throughout
    (`full_precision`), and autocast does not act.

    Args:
        model: The model.
        tokens: Token ids.
        attention_mask: True at real tokens.
        layers: The layers to read, at least one where there are no logits.
        edit: Called at every layer read, in order; its result replaces the residual stream and
            is what is returned for that layer. What is returned for other layers may be a copy
            that nothing depends on: return the residual stream itself to ask for its gradient.
        logits: Run to the end and return logits too: True for those of every token, or a mask
            for those of some real tokens, so that no others are unembedded nor, where the last
            block is not read, go through its MLP, as long as no foreign hook would see that.
            Otherwise stop after the deepest layer.

    Returns:
        The residual stream by layer; and the logits [row, pos, vocabulary], those under the mask
        [token, vocabulary] row after row, or None.
    """
    deepest, found, points = max(layers, default=None), {}, model.hook_dict
    some = logits if isinstance(logits, Tensor) else None
    wanted, picked = attention_mask, False
    handles = []
    layout = _Layout(attention_mask)

    def read(layer: int, residual: Tensor) -> Tensor | None:
        found[layer] = layout.outward(residual.to(tokens.device))
        replacement = edit(layer, found[layer]) if edit else None
        if replacement is not None:
            found[layer] = replacement
        if layer == deepest and logits is False:
            raise _StopForward
        return None if replacement is None else layout.inward(replacement).to(residual.device)

    def hook_at(layer: int) -> Callable[[Module, Any, Any], Tensor | None]:
        return lambda _module, _inputs, output: read(layer, output)

    token = _measuring.set(True)
    try:
        for layer in layers:
            point = points[hook_name(layer)]
            handles.append(point.register_forward_hook(hook_at(layer)))
        if some is not None:
            wanted = layout.inward(some)
            picked = not watched(model.unembed.modules())
            if picked:
                handles.append(model.unembed.register_forward_pre_hook(_picking(wanted)))
            if picked and len(model.blocks) - 1 not in layers and not _is_watched(model):
                mlp = model.blocks[-1].mlp
                handles.append(mlp.register_forward_pre_hook(_picking(wanted)))
                handles.append(mlp.register_forward_hook(_putting_back(wanted)))
        packed = layout.inward(tokens)
        with full_precision(model), torch.autocast(packed.device.type, enabled=False):
            result = model(
                packed,
                attention_mask=torch.ones_like(packed),
                return_type="logits",
                use_cache=False,
            )
        result = result.to(tokens.device)
        if some is None:
            result = layout.outward(result)
        elif picked:
            result = result[0]
        else:
            result = result[wanted]
    except _StopForward:
        result = None
    finally:
        for handle in handles:
            handle.remove()
        _measuring.reset(token)
    return found, result


def _picking(wanted: Bool[Tensor, "row pos"]) -> Callable[[Module, Any], tuple[Any, ...]]:
    """Returns a hook that keeps only some tokens, as one row."""

    def picked(value: Any) -> Any:
        # An MLP may also be given the residual stream.
        if not isinstance(value, Tensor) or value.shape[:2] != wanted.shape:
            return value
        return value[wanted.to(value.device)].unsqueeze(0)

    return lambda _module, inputs: tuple(map(picked, inputs))


def _is_watched(model: TransformerBridge) -> bool:
    """Returns whether a foreign hook may see what the last MLP does; True if there is none."""
    block = model.blocks[-1]
    if not hasattr(block, "mlp"):
        return True
    # The bridge has hooks of its own before attention and MLP.
    after = [part for name, part in block.named_children() if name not in _BEFORE]
    if hasattr(model, "ln_final"):
        after.append(model.ln_final)
    points = [part for part in block.modules() if isinstance(part, HookPoint)]
    inside = (module for part in after for module in part.modules())
    return watched([block, block.original_component, *points, *inside])


def _putting_back(wanted: Bool[Tensor, "row pos"]) -> Callable[[Module, Any, Any], Any]:
    """Returns a hook that undoes the picking: zeros at the other tokens."""

    def put(_module: Module, _inputs: Any, output: Any) -> Any:
        # A mixture of experts may also return what its router said.
        if isinstance(output, tuple):
            return (put(_module, _inputs, output[0]), *output[1:])
        mask = wanted.to(output.device)
        return output.new_zeros(*mask.shape, output.shape[-1]).index_put((mask,), output[0])

    return put


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
