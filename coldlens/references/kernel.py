"""COLD-Kernel with the identity and the linear kernel, as sums over examples and tokens."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.examples.tokens import Encoded
from coldlens.references.forward import Edits, run
from coldlens.references.gradients import activation_gradients
from coldlens.references.positions import position_indices

Positions = str | tuple[int | None, int | None]


def summed_gradient(
    model: TransformerBridge, example: Encoded, loss: object, layer: int, positions: Positions
) -> Float[Tensor, " d"]:
    """Computes ∂ᵢ = Σ_t ∂ℓᵢ/∂Z_l[t] over chosen tokens of every sequence that ℓᵢ reads.

    Args:
        model: The model.
        example: Token ids.
        loss: A loss with a literal form.
        layer: 0-based block.
        positions: Which tokens.

    Returns:
        Shape [d_model].
    """
    gradients = activation_gradients(model, example, loss, [layer])[layer]
    total = torch.zeros_like(next(iter(gradients.values()))[0])
    for gradient in gradients.values():
        prompt = len(example.prompt)
        for position in position_indices(positions, prompt, len(gradient) - prompt):
            total = total + gradient[position]
    return total


def identity_kernel(
    model: TransformerBridge,
    examples: Sequence[Encoded],
    loss: object,
    layer: int,
    positions: Positions = "last_prompt",
) -> Float[Tensor, " d"]:
    """Computes −(1/N) Σᵢ ∂ᵢ: COLD-Kernel with κ = 1.

    Source: Sharma and Trivedi 2026, "COLD-Steer", COLD-Kernel-Steer.

    Args:
        model: The model.
        examples: Token ids of N examples.
        loss: A loss with a literal form.
        layer: 0-based block.
        positions: Which tokens ∂ᵢ is summed over.

    Returns:
        Shape [d_model].
    """
    total = torch.zeros(())
    for example in examples:
        total = total - summed_gradient(model, example, loss, layer, positions) / len(examples)
    return total


def linear_kernel(
    model: TransformerBridge,
    examples: Sequence[Encoded],
    loss: object,
    layer: int,
    ids: Sequence[int],
    *,
    positions: Positions = "last_prompt",
    edits: Edits | None = None,
) -> Float[Tensor, "pos d"]:
    """Computes Δ_l(x)[s] = −(1/N) Σᵢ ⟨Z_l(x)[s], zᵢ⟩ ∂ᵢ for every token s of x.

    zᵢ is the mean of Z_l(xᵢ⊕yᵢ⁺) over the chosen positions.

    Args:
        model: The model.
        examples: Token ids of N examples.
        loss: A loss with a literal form.
        layer: 0-based block.
        ids: Token ids of x.
        positions: Which tokens of the examples.
        edits: Interventions at earlier layers, on x only.

    Returns:
        Shape [pos, d_model].
    """
    with torch.no_grad():
        stream = run(model, ids, edits)[0][layer]
        anchors = []
        for example in examples:
            prompt, completion = len(example.prompt), len(example.positive)
            read = run(model, example.sequence("positive"))[0][layer]
            chosen = position_indices(positions, prompt, completion)
            anchors.append(torch.stack([read[position] for position in chosen]).mean(0))
    gradients = [summed_gradient(model, e, loss, layer, positions) for e in examples]
    displacement = torch.zeros_like(stream)
    for position in range(len(stream)):
        for anchor, gradient in zip(anchors, gradients, strict=True):
            similarity = (stream[position] * anchor).sum()
            displacement[position] -= similarity * gradient / len(examples)
    return displacement
