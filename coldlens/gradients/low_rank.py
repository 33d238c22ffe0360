"""The best approximation of a sum of outer products by fewer of them."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from coldlens.gradients.factored import Factored


def truncated(matrix: Factored, rank: int | None, tolerance: float | None) -> Factored:
    """Keeps the first singular directions of Lᵀ R, without forming it.

    With Lᵀ = Q S and Rᵀ = Q′ S′, the singular values are those of S S′ᵀ, whose sides are at most
    the rank. Nothing closer in Frobenius norm has this rank (Eckart and Young 1936). Rows of their
    own stay as they are.

    Args:
        matrix: The matrix.
        rank: The most outer products to keep, or None.
        tolerance: The share of ‖Lᵀ R‖ that may be left out, or None for none.

    Returns:
        The matrix with balanced, orthogonal factors; itself where it is within the rank already.
    """
    if matrix.rank == 0 or (tolerance is None and matrix.rank <= (rank or 0)):
        return matrix
    rows, small = torch.linalg.qr(matrix.left.T)
    cols, other = torch.linalg.qr(matrix.right.T)
    first, values, last = torch.linalg.svd(small @ other.T, full_matrices=False)
    kept = _kept(values, tolerance or 0.0)
    kept = kept if rank is None else min(kept, rank)
    root = values[:kept].sqrt()
    return replace(
        matrix,
        left=((rows @ first[:, :kept]) * root).T.contiguous(),
        right=((cols @ last[:kept].T) * root).T.contiguous(),
    )


def _kept(values: Float[Tensor, " value"], tolerance: float) -> int:
    """Returns how many of the descending values leave out no more than their share."""
    left_out = values.square().flip(0).cumsum(0).flip(0)
    return int((left_out > tolerance**2 * left_out[:1]).sum())
