"""Gradients of the losses by ordinary reverse mode, one example at a time."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.examples.tokens import Encoded
from coldlens.losses import reads_residual
from coldlens.references.forward import filled, named_parameters
from coldlens.references.losses import example_loss


def activation_gradients(
    model: TransformerBridge, example: Encoded, loss: object, layers: Sequence[int]
) -> dict[int, dict[str, Float[Tensor, "pos d"]]]:
    """Computes ∂ℓᵢ/∂Z_l(xᵢ⊕yᵢ)[t] at every token t of every sequence that ℓᵢ reads.

    Args:
        model: The model; its parameters require gradients.
        example: Token ids.
        loss: A loss with a literal form; `ContrastiveSquaredError` is another one at every layer.
        layers: 0-based blocks.

    Returns:
        By layer and side, shape [pos, d_model]; zero where the loss treats a sequence as a
        constant.
    """
    gradients: dict[int, dict[str, Tensor]] = {}
    found = None
    for layer in layers:
        if found is None or reads_residual(loss):
            with torch.enable_grad():
                found = example_loss(model, example, loss, layer)
        gradients[layer] = {}
        for side, streams in found.streams.items():
            (gradient,) = torch.autograd.grad(
                found.value, streams[layer], retain_graph=True, allow_unused=True
            )
            zero = torch.zeros_like(streams[layer])
            gradients[layer][side] = zero if gradient is None else gradient
    return gradients


def parameter_gradient(
    model: TransformerBridge, examples: Sequence[Encoded], loss: object
) -> dict[str, Tensor]:
    """Computes g = (1/N) Σᵢ ∇_θ ℓᵢ(θ) over all parameters of the model.

    Args:
        model: The model; its parameters require gradients, and their `.grad` is not touched.
        examples: Token ids of the N examples.
        loss: A loss of the logits with a literal form.

    Returns:
        g by parameter name; zero for parameters without an effect. A tied embedding's entry has
        the part that flows through the unembedding too.
    """
    parameters = named_parameters(model)
    total = {name: torch.zeros_like(value.detach()) for name, value in parameters.items()}
    for example in examples:
        with torch.enable_grad():
            value = example_loss(model, example, loss).value
        found = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
        for name, gradient in filled(parameters, found).items():
            total[name] += gradient / len(examples)
    return total
