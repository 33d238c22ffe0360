"""A matrix as a sum of outer products: the gradient of a linear map, kept unformed.

The gradient of W in y_t = W a_t is Σ_t δ_t a_tᵀ, with δ_t the gradient of y_t: its rank is at most
the number of tokens. That of an embedding adds one row a token.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

Product = Callable[[Tensor, Tensor], Tensor]
"""From two matrices to their product."""


@dataclass(frozen=True, eq=False)
class Factored:
    """G = Lᵀ R + Σ_k e_{ids_k} values_kᵀ, in the shape [rows, cols] of the parameter.

    Attributes:
        left: L, one row an outer product.
        right: R, likewise; matrices that read the same inputs share its storage.
        ids: Rows of G that have a part of their own, as those of an embedding that was looked up;
            each once, ascending.
        values: These parts.
    """

    left: Float[Tensor, "rank rows"]
    right: Float[Tensor, "rank cols"]
    ids: Int[Tensor, " row"]
    values: Float[Tensor, "row cols"]

    @classmethod
    def products(
        cls, left: Float[Tensor, "rank rows"], right: Float[Tensor, "rank cols"]
    ) -> "Factored":
        """Returns Lᵀ R."""
        none = torch.empty(0, dtype=torch.long, device=left.device)
        return cls(left, right, none, right.new_empty(0, right.shape[1]))

    @classmethod
    def lookups(
        cls, ids: Int[Tensor, " token"], values: Float[Tensor, "token cols"], rows: int
    ) -> "Factored":
        """Returns Σ_t e_{ids_t} values_tᵀ with the given number of rows; ids may repeat."""
        unique, place = ids.unique(return_inverse=True)
        summed = values.new_zeros(len(unique), values.shape[1]).index_add_(0, place, values)
        none = values.new_empty(0, values.shape[1])
        return cls(values.new_empty(0, rows), none, unique, summed)

    @property
    def parts(self) -> dict[str, Tensor]:
        """The four tensors by name."""
        return {"left": self.left, "right": self.right, "ids": self.ids, "values": self.values}

    @property
    def rank(self) -> int:
        """The number of outer products, rows of their own aside."""
        return len(self.left)

    def to(self, dtype: torch.dtype) -> "Factored":
        """Returns the same in another dtype."""
        return Factored(self.left.to(dtype), self.right.to(dtype), self.ids, self.values.to(dtype))

    def dense(self) -> Float[Tensor, "rows cols"]:
        """Returns G, formed."""
        return (self.left.T @ self.right).index_add_(0, self.ids, self.values)

    def times(
        self, inputs: Float[Tensor, "*token cols"], matmul: Product = torch.matmul
    ) -> Float[Tensor, "*token rows"]:
        """Returns G x, as a linear map whose outputs are the rows of its weight.

        Args:
            inputs: x.
            matmul: Multiplies the inputs with Rᵀ, which other matrices may have done already.

        Returns:
            G x of every token.
        """
        moved = _through(inputs, self.right, self.left, matmul)
        if len(self.ids):
            moved = moved.index_add(-1, self.ids, inputs @ self.values.T)
        return moved

    def transposed_times(
        self, inputs: Float[Tensor, "*token rows"]
    ) -> Float[Tensor, "*token cols"]:
        """Returns Gᵀ x, as a linear map whose inputs are the rows of its weight."""
        moved = _through(inputs, self.left, self.right, torch.matmul)
        if len(self.ids):
            moved = moved + inputs[..., self.ids] @ self.values
        return moved

    def lookup(self, ids: Int[Tensor, "*token"]) -> Float[Tensor, "*token cols"]:
        """Returns rows of G, as an embedding does."""
        found = self.left.T[ids] @ self.right
        if len(self.ids):
            place = torch.searchsorted(self.ids, ids).clamp(max=len(self.ids) - 1)
            own = (self.ids[place] == ids).unsqueeze(-1)
            found = found + self.values[place] * own
        return found

    def inner(self, other: "Factored") -> Float[Tensor, ""]:
        """Returns ⟨G, G′⟩ = ⟨L L′ᵀ, R R′ᵀ⟩ and what the rows of their own add; ⟨G, G⟩ ≥ 0."""
        both = ((self.left @ other.left.T) * (self.right @ other.right.T)).sum()
        here = (self.values * other.lookup(self.ids)).sum()
        there = (other.values * (self.left.T[other.ids] @ self.right)).sum()
        total = both + here + there
        return total.clamp(min=0) if other is self else total


def _through(inputs: Tensor, first: Tensor, second: Tensor, matmul: Product) -> Tensor:
    """Returns x Fᵀ S, multiplied in the cheaper order; forming Fᵀ S pays for many of both."""
    (rank, cols), rows = first.shape, second.shape[1]
    tokens = inputs.numel() // cols
    if (rank + tokens) * rows * cols < tokens * rank * (rows + cols):
        return inputs @ (first.T @ second)
    return matmul(inputs, first.T) @ second


def joined(
    parts: Sequence[Factored],
    factor: float = 1.0,
    memo: dict[tuple[int, ...], Tensor] | None = None,
) -> Factored:
    """Adds matrices of one shape, by putting their outer products together.

    Args:
        parts: At least one.
        factor: What the sum is multiplied by.
        memo: The right factors that were put together before; matrices whose parts share them
            then share the result.

    Returns:
        The sum, with left factors of its own.
    """
    key = tuple(id(part.right) for part in parts)
    memo = {} if memo is None else memo
    if key not in memo:
        memo[key] = torch.cat([part.right for part in parts]) if len(parts) > 1 else parts[0].right
    left, ids, values = (
        torch.cat([part.parts[name] for part in parts]) for name in ("left", "ids", "values")
    )
    if len(ids):
        rows = Factored.lookups(ids, values * factor, left.shape[1])
        ids, values = rows.ids, rows.values
    return Factored(left.mul_(factor), memo[key], ids, values)
