"""Directions read through the final norm and the unembedding: which tokens they promote."""

from collections.abc import Mapping

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.models.offload import device_of

TOKEN_COLUMNS = ("method", "layer", "sign", "rank", "token", "token_id", "score")
DEPTH = 20
"""How many tokens are kept at each end."""


def token_table(
    model: TransformerBridge, directions: Mapping[str, Mapping[int, Tensor]]
) -> pd.DataFrame:
    """Lists the tokens that each direction promotes and suppresses most.

    The direction v, scaled to root mean square 1, is read as W_U (norm(v) − norm(0)), with the
    model's own final norm and unembedding, so its length does not matter.

    Args:
        model: The model.
        directions: Vectors by method and layer.

    Returns:
        Columns method, layer, sign (+1 promoted, −1 suppressed), rank (from 1), token, token_id,
        score (logit).
    """
    rows = []
    for method, vectors in directions.items():
        for layer, vector in vectors.items():
            logits = read_out(model, vector)
            depth = min(DEPTH, logits.numel() // 2)
            for sign in (1, -1):
                best = (sign * logits).topk(depth)
                for rank, token in enumerate(best.indices.tolist(), 1):
                    text = model.tokenizer.decode([token]) if model.tokenizer else str(token)
                    rows.append((method, layer, sign, rank, text, token, logits[token].item()))
    return pd.DataFrame(rows, columns=list(TOKEN_COLUMNS))


def read_out(model: TransformerBridge, vector: Float[Tensor, " d"]) -> Float[Tensor, " vocab"]:
    """Reads a direction through the final norm and the unembedding.

    Args:
        model: The model.
        vector: The direction, of any length.

    Returns:
        W_U (norm(v) − norm(0)) with v scaled to root mean square 1, in float32; zero for zero.
    """
    dtype = next(model.unembed.parameters()).dtype
    size = vector.square().mean().sqrt()
    unit = torch.where(size > 0, vector / size, 0.0)
    with torch.no_grad():
        pair = torch.stack([unit, torch.zeros_like(unit)]).to(dtype).unsqueeze(0)
        normed = model.ln_final(pair.to(device_of(model.ln_final)))
        logits = model.unembed(normed.to(device_of(model.unembed)))[0].float()
    return logits[0] - logits[1]
