"""The share of one linear map in a kernel, without the Jacobian of its weight.

For a weight with inputs A_i [token, n] and cotangents D_i [row, token, m] of its outputs, the
gradient of row o is G_i[o] = D_i[o]ᵀ A_i, and its share of the kernel of two sequences is

    K_ij[o, p] = ⟨G_i[o], G_j[p]⟩ = ⟨D_i[o], S_ij D_j[p]⟩,   S_ij = A_i A_jᵀ.

The first form ("weight") is cheaper for many tokens, the second ("Gram") for few. Source: Novak,
Sohl-Dickstein and Schoenholz 2022, "Fast Finite Width Neural Tangent Kernel", structured
derivatives. A bias is one more input that is always 1; for an embedding S is 1 where tokens agree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from coldlens.kernels.record import Call


@dataclass(frozen=True)
class MatrixInputs:
    """Inputs of a matrix: A, with a last column of ones where there is a bias."""

    values: Float[Tensor, "pos n"]

    def __len__(self) -> int:
        """Returns the number of tokens."""
        return len(self.values)

    @property
    def width(self) -> int | None:
        """The number n of inputs."""
        return self.values.shape[1]

    def gram(self, other: Any) -> Float[Tensor, "pos other"]:
        """Returns S = A A′ᵀ."""
        return self.values @ other.values.T

    def last(self) -> "MatrixInputs":
        """Returns the last token alone."""
        return MatrixInputs(self.values[-1:])


@dataclass(frozen=True)
class EmbeddingInputs:
    """Inputs of an embedding: ids, the factor on its output, and the id that is not trained."""

    ids: Int[Tensor, " pos"]
    scale: Float[Tensor, ""]
    padding: int | None

    def __len__(self) -> int:
        """Returns the number of tokens."""
        return len(self.ids)

    @property
    def width(self) -> int | None:
        """None: an embedding has no weight form."""
        return None

    def gram(self, other: Any) -> Float[Tensor, "pos other"]:
        """Returns S: the product of the factors where ids agree, else 0."""
        same = self.ids.unsqueeze(1) == other.ids
        if self.padding is not None:
            same &= (self.ids != self.padding).unsqueeze(1)
        return same * (self.scale * other.scale)

    def last(self) -> "EmbeddingInputs":
        """Returns the last token alone."""
        return EmbeddingInputs(self.ids[-1:], self.scale, self.padding)


Inputs = MatrixInputs | EmbeddingInputs


@dataclass(frozen=True)
class Factored:
    """The gradients of one linear map over some rows: G[o] = D[o]ᵀ A, kept as D and A."""

    inputs: Inputs
    cotangents: Float[Tensor, "row pos m"]

    def trimmed(self) -> "Factored":
        """Returns the last token alone if no other has a cotangent, as in the layer read."""
        if self.cotangents[:, :-1].any():
            return self
        return Factored(self.inputs.last(), self.cotangents[:, -1:])


def inputs_of(calls: Sequence[Call], values: Mapping[str, Tensor]) -> Inputs:
    """Gathers what a linear map read in a segment, over all its calls there.

    Args:
        calls: Its calls, at least one.
        values: Parameters by name, for the weight of an embedding.

    Returns:
        The inputs, a token after another.
    """
    site = calls[0].site
    if isinstance(site.module, nn.Embedding):
        weight = values[site.name]
        ids = torch.cat([call.inputs.flatten() for call in calls])
        plain = torch.cat([weight[call.inputs].flatten() for call in calls])
        given = torch.cat([call.output.detach().flatten() for call in calls])
        scale = plain @ given / (plain @ plain)
        return EmbeddingInputs(ids, scale, site.module.padding_idx)
    read = torch.cat([call.inputs.flatten(0, -2) for call in calls])
    columns = [read] if site.weight else []
    columns += [torch.ones_like(read[:, :1])] if site.bias else []
    return MatrixInputs(_joined(columns))


def factored(
    calls: Sequence[Call], cotangents: Sequence[Tensor], values: Mapping[str, Tensor]
) -> Factored:
    """Joins the calls of a linear map, so that their cross terms count.

    Args:
        calls: Its calls, at least one.
        cotangents: Of each call's output, [row, *output's shape].
        values: Parameters by name.

    Returns:
        The gradients.
    """
    together = _joined([found.flatten(1, -2) for found in cotangents])
    return Factored(inputs_of(calls, values), together)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), 1)


def gram_factors(left: Factored, right: Factored) -> tuple[Tensor, Tensor]:
    """Returns L and R, [row, x], with K = L Rᵀ and tr K = ⟨L, R⟩, by the Gram form.

    Args:
        left: The gradients of one sequence.
        right: Those of another.

    Returns:
        Both factors.
    """
    if len(left.inputs) > len(right.inputs):
        mixed, plain = gram_factors(right, left)
        return plain, mixed
    mixed = left.inputs.gram(right.inputs) @ right.cotangents
    return left.cotangents.flatten(1), mixed.flatten(1)


def weight_factor(part: Factored, outputs: slice) -> Tensor:
    """Returns G for some of the map's outputs, [row, x]: K = Σ G Gᵀ, by the weight form.

    Args:
        part: The gradients of one sequence.
        outputs: Which outputs.

    Returns:
        The factor; both sides of the kernel have the same.
    """
    assert isinstance(part.inputs, MatrixInputs)
    chosen = part.cotangents[:, :, outputs]
    return (chosen.transpose(1, 2) @ part.inputs.values).flatten(1)
