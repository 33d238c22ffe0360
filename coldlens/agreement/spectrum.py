"""How close blocks of the empirical NTK are to a multiple of the identity."""

import torch
from jaxtyping import Float
from torch import Tensor


def identity_fit(blocks: Float[Tensor, "*pair d d"]) -> dict[str, Float[Tensor, "*pair"]]:
    """Compares each block K with the identity.

    Args:
        blocks: The blocks.

    Returns:
        `alignment`: tr K / (√d ‖K‖_F), the cosine between K and I; `scale`: tr K / d, the multiple
        of I nearest to K; `residual`: ‖K − (tr K/d) I‖_F / ‖K‖_F, so that alignment² + residual²
        is 1. Alignment and residual are nan where K is zero.
    """
    width = blocks.shape[-1]
    trace = blocks.diagonal(dim1=-2, dim2=-1).sum(-1)
    size = torch.linalg.matrix_norm(blocks)
    identity = torch.eye(width, dtype=blocks.dtype, device=blocks.device)
    rest = blocks - (trace / width)[..., None, None] * identity
    return {
        "alignment": trace / (width**0.5 * size),
        "scale": trace / width,
        "residual": torch.linalg.matrix_norm(rest) / size,
    }


def eigenvalue_shares(blocks: Float[Tensor, "*block d d"]) -> Float[Tensor, "*block d"]:
    """Returns λ_k / Σλ of symmetric positive semi-definite blocks, largest first.

    Args:
        blocks: Kernels of inputs with themselves; negative eigenvalues, which are rounding, count
            as zero.

    Returns:
        Shares that sum to one; nan for a zero block.
    """
    symmetric = (blocks + blocks.mT) / 2
    values = torch.linalg.eigvalsh(symmetric).clamp_min(0).flip(-1)
    return values / values.sum(-1, keepdim=True)


def effective_rank(shares: Float[Tensor, "*block d"]) -> Float[Tensor, "*block"]:
    """Returns exp(−Σ p_k log p_k): d for the identity, 1 for a matrix of rank one.

    Source: Roy and Vetterli 2007, "The effective rank".

    Args:
        shares: p, eigenvalues over their sum.

    Returns:
        One number a block.
    """
    return torch.special.entr(shares).sum(-1).exp()


def first_singular_share(samples: Float[Tensor, "sample d"]) -> float:
    """Returns σ₁ / Σ_k σ_k of several vectors as the rows of a matrix: 1 if all are parallel.

    Args:
        samples: The vectors.

    Returns:
        The share; nan if all are zero.
    """
    values = torch.linalg.svdvals(samples)
    return (values[0] / values.sum()).item()
