"""Several layers at once: each displacement is taken given the interventions before it.

At a steered layer the chosen tokens of Z_l(x) are held at the constant Z_l(x) + η Δ_l(x), with
respect to the parameters too: what the parameters upstream do there is in Δ_l already, so a later
layer does not count it again.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.examples.tokens import Encoded
from coldlens.references.difference import moved_copy
from coldlens.references.forward import ParameterValues, run
from coldlens.references.jacobian import jacobian_displacement
from coldlens.references.kernel import Positions, linear_kernel

Displacements = dict[int, Float[Tensor, "pos d"]]
Held = dict[int, Callable[[Tensor], Tensor]]


def _hold(value: Tensor, tokens: Sequence[int]) -> Callable[[Tensor], Tensor]:
    constant = value.detach().clone()

    def edit(stream: Tensor) -> Tensor:
        rows = [
            constant[token] if token in tokens else stream[token] for token in range(len(stream))
        ]
        return torch.stack(rows)

    return edit


def jacobian_given(
    model: TransformerBridge,
    ids: Sequence[int],
    gradient: ParameterValues,
    layers: Sequence[int],
    eta: float,
    tokens: Sequence[int],
) -> Displacements:
    """Computes −∂Z_l(x)/∂θ · g at each layer with the earlier layers' chosen tokens held.

    Args:
        model: The model.
        ids: Token ids of x.
        gradient: g by parameter name.
        layers: The steered layers, ascending.
        eta: η.
        tokens: The steered tokens of x.

    Returns:
        By layer, shape [pos, d_model].
    """
    held: Held = {}
    found: Displacements = {}
    for layer in layers:
        found[layer] = jacobian_displacement(model, ids, layer, gradient, edits=held)
        with torch.no_grad():
            stream = run(model, ids, held)[0][layer]
        held = {**held, layer: _hold(stream + eta * found[layer], tokens)}
    return found


def difference_given(
    model: TransformerBridge,
    ids: Sequence[int],
    direction: ParameterValues,
    step: float,
    scale: float,
    layers: Sequence[int],
    eta: float,
    tokens: Sequence[int],
) -> Displacements:
    """Computes c (Z_l(x; θ + a v) − Z_l(x; θ)) with both forwards held at the same constants.

    Args:
        model: The model.
        ids: Token ids of x.
        direction: v by parameter name.
        step: a.
        scale: c; −1/a for a finite difference along a gradient, 1 for a real step.
        layers: The steered layers, ascending.
        eta: η.
        tokens: The steered tokens of x.

    Returns:
        By layer, shape [pos, d_model].
    """
    moved = moved_copy(model, direction, step)
    held: Held = {}
    found: Displacements = {}
    with torch.no_grad():
        for layer in layers:
            before, after = run(model, ids, held)[0][layer], run(moved, ids, held)[0][layer]
            found[layer] = scale * (after - before)
            held = {**held, layer: _hold(before + eta * found[layer], tokens)}
    return found


def linear_kernel_given(
    model: TransformerBridge,
    examples: Sequence[Encoded],
    loss: object,
    ids: Sequence[int],
    layers: Sequence[int],
    eta: float,
    tokens: Sequence[int],
    *,
    positions: Positions = "last_prompt",
) -> Displacements:
    """Computes the linear kernel's displacement of each layer on the already steered stream.

    Args:
        model: The model.
        examples: Token ids of the examples.
        loss: A loss with a literal form.
        ids: Token ids of x.
        layers: The steered layers, ascending.
        eta: η.
        tokens: The steered tokens of x.
        positions: Which tokens of the examples.

    Returns:
        By layer, shape [pos, d_model].
    """
    held: Held = {}
    found: Displacements = {}
    for layer in layers:
        found[layer] = linear_kernel(
            model, examples, loss, layer, ids, positions=positions, edits=held
        )
        with torch.no_grad():
            stream = run(model, ids, held)[0][layer]
        held = {**held, layer: _hold(stream + eta * found[layer], tokens)}
    return found
