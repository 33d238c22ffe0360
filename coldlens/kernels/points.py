"""Sequences of token ids read at their last token, and pairs of them."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.examples.tokens import Ids
from coldlens.models.offload import device_of

Pair = tuple[int, int]
"""Two sequences by their places in a list; the first one indexes the rows of a block."""


def one_row(
    model: TransformerBridge, ids: Ids
) -> tuple[Int[Tensor, "1 pos"], Bool[Tensor, "1 pos"]]:
    """Makes a batch of one sequence, without padding.

    Args:
        model: The model, for its device.
        ids: Token ids.

    Returns:
        Tokens and the mask of real ones.
    """
    device = device_of(model.original_model)
    tokens = torch.tensor([ids], device=device)
    return tokens, torch.ones_like(tokens, dtype=torch.bool)
