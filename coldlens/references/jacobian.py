"""J_l(x)[s] = ∂Z_l(x)[s]/∂θ, one row a reverse pass, and its product with a direction."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.references.forward import (
    Edits,
    ParameterValues,
    filled,
    named_parameters,
    run,
)


def jacobian_row(
    model: TransformerBridge, stream: Float[Tensor, "pos d"], position: int, coordinate: int
) -> dict[str, Tensor]:
    """Computes one row of the Jacobian: ∂Z_l(x)[s, c]/∂θ.

    Args:
        model: The model.
        stream: Z_l(x) with its graph, as `run` returns it.
        position: The token s.
        coordinate: The coordinate c of the residual stream.

    Returns:
        A tensor of the parameter's shape for each parameter.
    """
    parameters = named_parameters(model)
    found = torch.autograd.grad(
        stream[position, coordinate],
        list(parameters.values()),
        retain_graph=True,
        allow_unused=True,
    )
    return filled(parameters, found)


def jacobian(
    model: TransformerBridge, ids: Sequence[int], layer: int, position: int
) -> dict[str, Tensor]:
    """Computes J_l(x)[s].

    Args:
        model: The model; its parameters require gradients.
        ids: Token ids of x.
        layer: 0-based block l.
        position: The token s.

    Returns:
        By parameter, shape [d_model, *shape of the parameter].
    """
    with torch.enable_grad():
        stream = run(model, ids)[0][layer]
    rows = [
        jacobian_row(model, stream, position, coordinate) for coordinate in range(stream.shape[1])
    ]
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def jacobian_displacement(
    model: TransformerBridge,
    ids: Sequence[int],
    layer: int,
    gradient: ParameterValues,
    *,
    edits: Edits | None = None,
    positions: Sequence[int] | None = None,
) -> Float[Tensor, "pos d"]:
    """Computes −J_l(x)[s] g row by row.

    Args:
        model: The model; its parameters require gradients.
        ids: Token ids of x.
        layer: 0-based block l.
        gradient: g by parameter name; parameters that are missing do not move.
        edits: Interventions at earlier layers, inside the derivative.
        positions: The tokens s, in order; None for all of them.

    Returns:
        Shape [number of positions, d_model].
    """
    with torch.enable_grad():
        stream = run(model, ids, edits)[0][layer]
    chosen = range(len(stream)) if positions is None else positions
    moved = torch.zeros(len(chosen), stream.shape[1], dtype=stream.dtype, device=stream.device)
    for place, position in enumerate(chosen):
        for coordinate in range(stream.shape[1]):
            row = jacobian_row(model, stream, position, coordinate)
            for name, value in gradient.items():
                moved[place, coordinate] -= (row[name] * value).sum()
    return moved
