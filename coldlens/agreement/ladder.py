"""The ladder from the exact displacement to COLD-Kernel, one approximation a rung."""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture.token_gradients import TokenGradients
from coldlens.examples.tokens import Ids
from coldlens.kernels.points import one_row
from coldlens.kernels.products import mean_pullback, pushforward
from coldlens.vectors import cosine

RUNGS = ("full", "last_position", "scalar", "constant")


def at_last_token(
    model: TransformerBridge,
    direction: Mapping[str, Tensor],
    queries: Sequence[Ids],
    layers: tuple[int, ...],
) -> Float[Tensor, "layer query d"]:
    """Computes −J_l(x) v at the last token of each query.

    Args:
        model: The model.
        direction: v by parameter name.
        queries: Token ids.
        layers: The layers l.

    Returns:
        The displacements.
    """
    found = []
    for ids in queries:
        moved = pushforward(model, direction, *one_row(model, ids), layers)
        found.append(torch.stack([-moved[layer][0, -1] for layer in layers]))
    return torch.stack(found, dim=1)


def rungs(
    model: TransformerBridge,
    layer: int,
    gradients: Sequence[TokenGradients],
    queries: Sequence[Ids],
    scales: Float[Tensor, "query example"],
) -> dict[str, Float[Tensor, "query d"]]:
    """Computes the displacement of each query at its last token, rung by rung.

    `full` sums K ∂ᵢ[t] over all tokens t of all sequences that the losses read, `last_position`
    only over the last prompt token; `scalar` replaces K there by (tr K/d) I for each pair, and
    `constant` that scalar by its mean over all pairs: COLD-Kernel with κ = 1, up to scale. The
    first two never form a block: K v is a reverse and a forward pass.

    Args:
        model: The model.
        layer: The layer.
        gradients: ∂ᵢ of N examples.
        queries: Token ids.
        scales: tr K/d of each query with each example's last prompt token.

    Returns:
        Displacements by rung, in the order of `RUNGS`.
    """
    full, last = (
        at_last_token(model, mean_pullback(model, layer, gradients, positions), queries, (layer,))
        for positions in ("all", "last_prompt")
    )
    ends = torch.stack([found.at_last_prompt(layer) for found in gradients])
    weights = scales.to(ends.dtype)
    return {
        "full": full[0],
        "last_position": last[0],
        "scalar": -weights @ ends / len(ends),
        "constant": -weights.mean() * ends.mean(0).expand(len(queries), -1),
    }


def compared(
    found: Mapping[str, Float[Tensor, "query d"]], exact: Float[Tensor, "query d"]
) -> pd.DataFrame:
    """Compares each rung with the exact displacement.

    Args:
        found: Displacements by rung.
        exact: The exact ones.

    Returns:
        Columns query, rung, cosine, relative_error ‖rung − exact‖/‖exact‖ and norm_ratio
        ‖rung‖/‖exact‖; the cosine is nan where a displacement is zero.
    """
    size = exact.norm(dim=-1)
    frames = []
    for rung, moved in found.items():
        columns = {
            "cosine": cosine(moved, exact),
            "relative_error": (moved - exact).norm(dim=-1) / size,
            "norm_ratio": moved.norm(dim=-1) / size,
        }
        values = {name: column.double().cpu().numpy() for name, column in columns.items()}
        frames.append(pd.DataFrame({"query": range(len(exact)), "rung": rung, **values}))
    return pd.concat(frames, ignore_index=True)
