"""The empirical NTK by its definition: d × P Jacobians, multiplied. Slow, plain, a reference."""

from collections.abc import Collection, Iterator

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.examples.tokens import Ids
from coldlens.kernels.points import Pair, one_row
from coldlens.models.forward import residuals
from coldlens.models.parameters import accurate_parameters, exchanged


def jacobian_rows(
    model: TransformerBridge, ids: Ids, layer: int, names: Collection[str]
) -> Iterator[Float[Tensor, "d parameter"]]:
    """Computes J_l(x)[s] = ∂Z_l(x)[s]/∂θ with `torch.func`, a token at a time from the last.

    Args:
        model: The model.
        ids: Token ids of x.
        layer: 0-based block l.
        names: The parameters θ.

    Yields:
        J_l(x)[s] for s = T−1, …, 0, shape [d_model, number of entries of θ].
    """
    values = accurate_parameters(model, layer)
    tokens, mask = one_row(model, ids)

    def read(chosen: dict[str, Tensor]) -> Tensor:
        with exchanged(model, {**values, **chosen}):
            return residuals(model, tokens, mask, (layer,))[0][layer][0]

    stream, pull, *_ = torch.func.vjp(read, {name: values[name] for name in names})
    basis = torch.eye(stream.shape[1], dtype=stream.dtype, device=stream.device)
    for position in reversed(range(len(ids))):
        cotangents = stream.new_zeros(len(basis), *stream.shape)
        cotangents[:, position] = basis
        (rows,) = torch.vmap(pull)(cotangents)
        yield torch.cat([basis[:, :0], *(row.flatten(1) for row in rows.values())], 1)


def jacobian_blocks(
    model: TransformerBridge,
    points: tuple[Ids, ...],
    layer: int,
    names: Collection[str],
    pairs: Collection[Pair],
) -> dict[Pair, Float[Tensor, "d d"]]:
    """Computes K_l(x, x′) = J_l(x) J_l(x′)ᵀ, each sequence read at its last token.

    Args:
        model: The model.
        points: Token ids of the sequences.
        layer: 0-based block l.
        names: The parameters.
        pairs: Which two sequences, by their places in `points`.

    Returns:
        A block for each pair.
    """
    needed = sorted({place for pair in pairs for place in pair})
    rows = {place: next(jacobian_rows(model, points[place], layer, names)) for place in needed}
    return {(i, j): rows[i] @ rows[j].T for i, j in pairs}


def jacobian_cross_block(
    model: TransformerBridge, query: Ids, example: Ids, layer: int, names: Collection[str]
) -> Float[Tensor, "pos d d"]:
    """Computes K_l((x, last), (x′, t)) for every token t of x′.

    Args:
        model: The model.
        query: Token ids of x, read at the last.
        example: Token ids of x′.
        layer: 0-based block l.
        names: The parameters.

    Returns:
        Shape [tokens of x′, d_model, d_model]; rows index the query's coordinate.
    """
    left = next(jacobian_rows(model, query, layer, names))
    blocks = [left @ right.T for right in jacobian_rows(model, example, layer, names)]
    return torch.stack(blocks[::-1])
