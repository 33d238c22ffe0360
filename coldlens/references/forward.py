"""A forward pass of one unpadded sequence, and the parameters by name."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from coldlens.models.precision import full_precision

ParameterValues = Mapping[str, Tensor]
"""A tensor for each parameter's name: values, gradients, or a direction."""

Edits = Mapping[int, Callable[[Tensor], Tensor]]
"""By layer: from the residual stream [pos, d_model] to what takes its place."""

Streams = dict[int, Float[Tensor, "pos d"]]


def run(
    model: TransformerBridge, ids: Sequence[int], edits: Edits | None = None
) -> tuple[Streams, Float[Tensor, "pos vocab"]]:
    """Runs one sequence and reads Z_l at `blocks.{l}.hook_resid_post` for every l.

    Args:
        model: The model.
        ids: Token ids of the sequence, without padding.
        edits: What replaces the residual stream at some layers, for the layers after them.

    Returns:
        Z_l as block l computed it, before its own edit, by layer, shape [pos, d_model]; and the
        logits, shape [pos, vocabulary]. Both are connected to the graph where grad is enabled.
    """
    streams: Streams = {}

    def hook_at(layer: int) -> Callable[..., Tensor]:
        def read(residual: Tensor, hook: object) -> Tensor:
            # A fresh tensor, so that a gradient can be asked at exactly this place of the graph.
            streams[layer] = residual.clone()[0]
            if edits is None or layer not in edits:
                return streams[layer].unsqueeze(0)
            return edits[layer](streams[layer]).unsqueeze(0)

        return read

    device = next(model.original_model.parameters()).device
    hooks: list[tuple[str | Callable[..., Any], Callable[..., Any]]] = [
        (f"blocks.{layer}.hook_resid_post", hook_at(layer)) for layer in range(len(model.blocks))
    ]
    tokens = torch.tensor([list(ids)], device=device)
    with full_precision(model):
        logits = model.run_with_hooks(tokens, fwd_hooks=hooks, return_type="logits")
    assert isinstance(logits, Tensor)
    return streams, logits[0]


def named_parameters(model: TransformerBridge) -> dict[str, nn.Parameter]:
    """Lists the model's parameters, a tied one once.

    Args:
        model: The model.

    Returns:
        Parameters by their path in the Hugging Face model, without the bridge's wrappers.
    """
    return {
        path.replace("._original_component", ""): parameter
        for path, parameter in model.original_model.named_parameters()
    }


def filled(parameters: Mapping[str, Tensor], found: Sequence[Tensor | None]) -> dict[str, Tensor]:
    """Names gradients, with zeros where a parameter has no effect.

    Args:
        parameters: The parameters that were differentiated, in order.
        found: Their gradients, None where there is none.

    Returns:
        A tensor for each parameter.
    """
    named = {}
    for (name, parameter), gradient in zip(parameters.items(), found, strict=True):
        named[name] = torch.zeros_like(parameter) if gradient is None else gradient.detach()
    return named
