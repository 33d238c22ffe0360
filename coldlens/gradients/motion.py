"""The model at parameters moved along a direction, and the derivative of its residual stream."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.autograd import forward_ad
from transformer_lens.model_bridge import TransformerBridge

from coldlens.gradients.direction import Direction
from coldlens.gradients.factored import Factored, Product
from coldlens.gradients.maps import LinearMap, linear_maps
from coldlens.models.forward import Edit, residuals
from coldlens.models.hooks import hooked
from coldlens.models.parameters import accurate_parameters, exchanged, parameters

Streams = dict[int, Float[Tensor, "row pos d"]]
"""The residual stream, or a change of it, by layer."""

DualEdit = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor] | None]
"""From a layer, its residual stream and tangent to what takes their place; None to leave them."""


@contextmanager
def moved(
    model: TransformerBridge,
    direction: Direction,
    step: float | None,
    layer: int,
    dtype: torch.dtype | None = None,
) -> Iterator[None]:
    """Lets the model compute with parameters θ + a v, without touching its own.

    A part of v that is a tensor is added to the parameter. A part that is a sum of outer products
    is added to the outputs of the linear maps that hold the weight: (W + a G) x = W x + a G x, so
    W is not copied. G = Σ_t δ_t a_tᵀ of one map at a time is formed only where that is cheaper
    than going through ⟨a_t, x⟩, which maps that read the same inputs share.

    Args:
        model: The model.
        direction: v; what is not upstream of the layer does not count.
        step: a; None for an infinitesimal one, which moves tangents and needs a dual level.
        layer: The deepest layer that is read.
        dtype: Another dtype to compute in than float32 or better.

    Yields:
        Nothing.
    """
    known = parameters(model)
    values = accurate_parameters(model, layer, dtype, known)
    dtype = next(iter(values.values())).dtype
    maps, matmul = linear_maps(known), _Remembered()
    hooks: dict[nn.Module, Callable[..., Tensor]] = {}
    for name, part in direction.items():
        if isinstance(part, Factored):
            weight = part.to(dtype)
            for place in maps[name]:
                hooks[place.module] = _shift(place, weight, step, matmul)
        elif name in values:
            values[name] = _along(values[name], part.to(dtype), step)
    with hooked(hooks), exchanged(model, values, known):
        yield


class _Remembered:
    """A product of matrices that is not computed again for the same ones, next to each other."""

    def __init__(self) -> None:
        self._of: tuple[object, ...] | None = None
        self._kept: tuple[Tensor, ...] = ()

    def __call__(self, left: Tensor, right: Tensor) -> Tensor:
        of = (*_state(left), *_state(right))
        if of != self._of:
            # Both are kept, so that no other tensor gets their place in memory.
            self._of, self._kept = of, (left, right, left @ right)
        return self._kept[-1]


def _state(one: Tensor) -> tuple[object, ...]:
    """Returns what tells two tensors apart, or one from itself after a change in place."""
    # What is made in inference mode has no version: never the same.
    version = object() if one.is_inference() else one._version
    return one.data_ptr(), one.shape, one.stride(), one.dtype, version


def _shift(
    place: LinearMap, weight: Factored, step: float | None, matmul: Product
) -> Callable[..., Tensor]:
    def hook(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        read = inputs[0] if step is not None else forward_ad.unpack_dual(inputs[0]).primal
        return _along(output, place.change(weight, read.to(output.device), matmul), step)

    return hook


def _along(value: Tensor, change: Tensor, step: float | None) -> Tensor:
    """Returns value + a · change; for an infinitesimal a, the value with another tangent."""
    if step is not None:
        return torch.add(value, change, alpha=step)
    primal, tangent = forward_ad.unpack_dual(value)
    return forward_ad.make_dual(primal, change if tangent is None else tangent + change)


def moved_residuals(
    model: TransformerBridge,
    direction: Direction,
    step: float,
    tokens: Int[Tensor, "row pos"],
    attention_mask: Bool[Tensor, "row pos"],
    layers: tuple[int, ...],
    edit: Edit | None = None,
    *,
    dtype: torch.dtype | None = None,
) -> Streams:
    """Reads Z_l(x; θ + a v) in float32 or better.

    Args:
        model: The model.
        direction: v by parameter name.
        step: a.
        tokens: Token ids.
        attention_mask: True at real tokens.
        layers: The layers to read, ascending.
        edit: What to do at each layer; see `residuals`.
        dtype: Another dtype to compute in.

    Returns:
        The residual stream by layer.
    """
    change = direction if step != 0 else {}
    with torch.no_grad(), moved(model, change, step, max(layers), dtype):
        return residuals(model, tokens, attention_mask, layers, edit=edit)[0]


def pushforward(
    model: TransformerBridge,
    direction: Direction,
    tokens: Int[Tensor, "row pos"],
    attention_mask: Bool[Tensor, "row pos"],
    layers: tuple[int, ...],
    edit: DualEdit | None = None,
) -> Streams:
    """Computes J_l(x)[s] v at every token s by forward mode: one dual forward for all layers.

    Args:
        model: The model; its attention must be eager.
        direction: v by parameter name; parameters that are missing do not move.
        tokens: Token ids.
        attention_mask: True at real tokens.
        layers: The layers to read.
        edit: Called at every layer read, in order, with the layer, Z_l and J_l v; it may return
            what takes their place for the layers after it.

    Returns:
        J_l v by layer, as it was before the layer's own edit; arbitrary at padding.
    """
    found: Streams = {}

    def read(layer: int, residual: Tensor) -> Tensor | None:
        primal, tangent = forward_ad.unpack_dual(residual)
        found[layer] = torch.zeros_like(primal) if tangent is None else tangent
        replacement = edit(layer, primal, found[layer]) if edit else None
        return None if replacement is None else forward_ad.make_dual(*replacement)

    with (
        torch.inference_mode(False),
        torch.no_grad(),
        forward_ad.dual_level(),
        moved(model, direction, None, max(layers)),
    ):
        residuals(model, tokens, attention_mask, layers, edit=read)
    return found
