"""Directions from activations alone: DiffMean, RepE and ICV."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.examples.tokens import Encoded
from coldlens.references.forward import run


def answer_mean(
    model: TransformerBridge, example: Encoded, side: str, layer: int
) -> Float[Tensor, " d"]:
    """Computes Z̄_l(x⊕y): the mean of Z_l over the tokens of y.

    Args:
        model: The model.
        example: Token ids.
        side: `"positive"` or `"negative"`.
        layer: 0-based block.

    Returns:
        Shape [d_model].
    """
    ids = example.sequence(side)
    with torch.no_grad():
        stream = run(model, ids)[0][layer]
    total = torch.zeros_like(stream[0])
    for position in range(len(example.prompt), len(ids)):
        total += stream[position]
    return total / (len(ids) - len(example.prompt))


def _difference(model: TransformerBridge, example: Encoded, layer: int) -> Tensor:
    positive = answer_mean(model, example, "positive", layer)
    return positive - answer_mean(model, example, "negative", layer)


def diff_mean(
    model: TransformerBridge, examples: Sequence[Encoded], layer: int
) -> Float[Tensor, " d"]:
    """Computes (1/N) Σᵢ Z̄_l(xᵢ⊕yᵢ⁺) − Z̄_l(xᵢ⊕yᵢ⁻).

    Source: Rimsky et al. 2024, "Steering Llama 2 via Contrastive Activation Addition".

    Args:
        model: The model.
        examples: Token ids of N pairs.
        layer: 0-based block.

    Returns:
        Shape [d_model].
    """
    total = _difference(model, examples[0], layer)
    for example in examples[1:]:
        total = total + _difference(model, example, layer)
    return total / len(examples)


def principal_direction(
    samples: Float[Tensor, "example d"], *, center: bool = True
) -> Float[Tensor, " d"]:
    """Returns the unit eigenvector of the largest eigenvalue of a d × d moment matrix.

    The matrix is the covariance (1/N) Σᵢ (δᵢ − δ̄)(δᵢ − δ̄)ᵀ, or without centring the second moment
    (1/N) Σᵢ δᵢδᵢᵀ; the sign is the one with (1/N) Σᵢ ⟨δᵢ, v⟩ > 0. For RepE (Zou et al. 2023,
    "Representation Engineering") the samples are the differences of the answer means.

    Args:
        samples: δᵢ, at least two of them where centred.
        center: Whether the mean is subtracted.

    Returns:
        v.
    """
    count, width = samples.shape
    mean = torch.zeros_like(samples[0])
    for sample in samples:
        mean = mean + sample / count
    matrix = samples.new_zeros(width, width)
    for sample in samples:
        deviation = sample - mean if center else sample
        matrix = matrix + torch.outer(deviation, deviation) / count
    direction = torch.linalg.eigh(matrix).eigenvectors[:, -1]
    return direction if (mean * direction).sum() > 0 else -direction


def joint_principal_direction(
    model: TransformerBridge,
    examples: Sequence[Encoded],
    layers: Sequence[int],
    *,
    center: bool = True,
) -> Float[Tensor, "layer d"]:
    """Computes ICV: `principal_direction` of the differences concatenated over layers, split.

    Source: Liu et al. 2024, "In-context Vectors", section 3.2. With a single layer it is RepE.

    Args:
        model: The model.
        examples: Token ids of N pairs.
        layers: 0-based blocks.
        center: Whether the mean difference is subtracted.

    Returns:
        A row a layer; all rows together have norm 1.
    """
    rows = [torch.cat([_difference(model, e, layer) for layer in layers]) for e in examples]
    return principal_direction(torch.stack(rows), center=center).reshape(len(layers), -1)
