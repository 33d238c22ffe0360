"""Which tokens of the examples carry the displacement."""

from collections.abc import Sequence

import pandas as pd
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture.token_gradients import TokenGradients
from coldlens.examples.tokens import Ids
from coldlens.kernels.padded import rows_of
from coldlens.kernels.points import one_row
from coldlens.kernels.products import pullback, pushforward

PROMPT = "prompt"
"""The side of tokens that come before the completion, in every sequence of an example."""


def position_shares(
    model: TransformerBridge,
    layer: int,
    gradients: Sequence[TokenGradients],
    queries: Sequence[Ids],
    displacements: Float[Tensor, "query d"],
) -> pd.DataFrame:
    """Computes what each token of the examples contributes to the kernel sum Δ of each query.

    The share of token t is ⟨−(1/N) K((x,s),(xᵢ,t)) ∂ᵢ[t], Δ⟩ / ‖Δ‖². Since that is
    −(1/N) ⟨J_l(xᵢ)[t] w, ∂ᵢ[t]⟩ / ‖Δ‖² with w = J_l(x)[s]ᵀ Δ, one reverse pass of the query and a
    dual forward of each sequence give the shares of all tokens. They sum to one, and those of
    tokens that work against the others are negative.

    Args:
        model: The model.
        layer: The layer.
        gradients: ∂ᵢ of N examples.
        queries: Token ids of x, each read at its last token s.
        displacements: Δ of each query.

    Returns:
        Columns query, example, side, position, share. Position 0 is the last prompt token, 1 the
        first token of the completion. Side is positive or negative for a completion's token and
        `"prompt"` for a token of the prompt, whose share is summed over the sequences.
    """
    padded = list(rows_of(gradients, layer))
    frames = []
    for query, (ids, displacement) in enumerate(zip(queries, displacements, strict=True)):
        tokens, mask = one_row(model, ids)
        cotangents = displacement.new_zeros(*tokens.shape, len(displacement))
        cotangents[0, -1] = displacement / displacement.square().sum() / len(gradients)
        direction = pullback(model, layer, tokens, mask, cotangents)
        found: dict[tuple[int, str], Tensor] = {}
        for rows in padded:
            moved = pushforward(model, direction, rows.tokens, rows.attention_mask, (layer,))[layer]
            shares = -(moved * rows.gradients).sum(-1)
            for row, (example, side) in zip(shares, rows.owners, strict=True):
                length = gradients[example].prompt_length
                end = len(gradients[example].tokens[side])
                known = found.get((example, PROMPT), 0)
                found[example, PROMPT] = known + row[:length]
                found[example, side] = row[length:end]
        frames += [
            _frame(query, example, side, shares) for (example, side), shares in found.items()
        ]
    return pd.concat(frames, ignore_index=True)


def _frame(query: int, example: int, side: str, shares: Float[Tensor, " pos"]) -> pd.DataFrame:
    first = 1 - len(shares) if side == PROMPT else 1
    return pd.DataFrame(
        {
            "query": query,
            "example": example,
            "side": side,
            "position": range(first, first + len(shares)),
            "share": shares.double().cpu().numpy(),
        }
    )
