"""COLD-FD written from its formulas: one example at a time, a copied model, whole forwards.

Source: Sharma and Trivedi 2026, "COLD-Steer", COLD-FD-Steer: g = (1/N) Σᵢ ∇_θ ℓᵢ, and
Δ_l(x) = −(Z_l(x; θ + εg) − Z_l(x; θ)) / ε is added, times η, to the residual stream of layer l.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from coldlens.examples.tokens import Encoded

Padded = tuple[Int[Tensor, "row pos"], Bool[Tensor, "row pos"]]
"""Token ids, padded on the right, and the mask of real tokens."""


def gradient(network: PreTrainedModel, encoded: Sequence[Encoded]) -> dict[str, Tensor]:
    """Computes g for the cross-entropy of the positive answers, of every parameter.

    Args:
        network: The Hugging Face model; its `.grad` are None before and after.
        encoded: The examples' tokens.

    Returns:
        g by parameter name.
    """
    for one in encoded:
        logits = network(torch.tensor([one.sequence("positive")]), use_cache=False).logits[0]
        log_probs = logits[len(one.prompt) - 1 : -1].log_softmax(-1)
        loss = -log_probs.gather(1, torch.tensor(one.positive).unsqueeze(1)).mean()
        (loss / len(encoded)).backward()
    found = {
        name: values.grad for name, values in network.named_parameters() if values.grad is not None
    }
    network.zero_grad()
    return found


@torch.no_grad()
def steered(
    network: PreTrainedModel,
    g: dict[str, Tensor],
    prompts: Iterable[Padded],
    layer: int,
    eta: float,
    epsilon: float,
) -> Float[Tensor, "prompt vocab"]:
    """Reads prompts with η Δ_l added at all of their tokens.

    Args:
        network: The Hugging Face model.
        g: The gradient by parameter name.
        prompts: The prompts in batches.
        layer: l, 0-based.
        eta: η.
        epsilon: ε.

    Returns:
        The logits after each prompt.
    """
    moved = copy.deepcopy(network)
    for name, values in moved.named_parameters():
        values += epsilon * g[name]
    found = []
    for tokens, mask in prompts:
        here, there = (_run(one, tokens, mask, layer)[0] for one in (network, moved))
        change = -eta / epsilon * (there - here)
        _, logits = _run(network, tokens, mask, layer, lambda stream, by=change: stream + by)
        found.append(logits[torch.arange(len(tokens)), mask.sum(1) - 1])
    return torch.cat(found)


def _run(
    network: PreTrainedModel,
    tokens: Tensor,
    mask: Tensor,
    layer: int,
    edit: Callable[[Tensor], Tensor] = lambda stream: stream,
) -> tuple[Tensor, Tensor]:
    """Runs the whole model.

    Returns:
        Z_l, edited, and the logits.
    """
    kept: list[Tensor] = []

    def hook(_module: Any, _inputs: Any, stream: Tensor) -> Tensor:
        kept.append(edit(stream))
        return kept[0]

    handle = network.model.layers[layer].register_forward_hook(hook)
    try:
        logits = network(tokens, attention_mask=mask, use_cache=False).logits
    finally:
        handle.remove()
    return kept[0], logits
