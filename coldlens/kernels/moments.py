"""Unbiased estimates of a kernel block K from V K Vᵀ, for a few random orthonormal rows V.

K = (tr K/d) I + S + A with S symmetric and traceless and A antisymmetric, and V K Vᵀ = M has the
same parts in r dimensions. Rotations mix none of them, so that by Schur's lemma V shrinks the
squared norms of S and A, on average, as it shrinks the dimensions of their spaces:

    E ‖S_M‖² = (r−1)(r+2)/((d−1)(d+2)) ‖S‖²        E tr M   = (r/d) tr K
    E ‖A_M‖² = r(r−1)/(d(d−1)) ‖A‖²                Var tr M = 2 r(d−r)/(d(d−1)(d+2)) ‖S‖²

for the first r rows V of a Haar-random orthogonal matrix. With all d rows, everything is exact.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

FEWEST = 3
"""Probes: an interval needs estimates that leave one out, and an estimate needs two."""


def haar_rows(count: int, width: int, seed: int) -> Float[Tensor, "row d"]:
    """Draws rows of a Haar-random orthogonal matrix, in float64.

    Source: Stewart 1980; Mezzadri 2007, "How to generate random matrices from the classical
    compact groups": the QR decomposition of Gaussians, with the signs of R's diagonal.

    Args:
        count: Rows r, at most d.
        width: d.
        seed: Seed of a generator of its own.

    Returns:
        V with V Vᵀ = I.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(width, count, generator=generator, dtype=torch.float64)
    basis, upper = torch.linalg.qr(drawn)
    return (basis * upper.diagonal().sign()).T.contiguous()


@dataclass(frozen=True)
class Parts:
    """Unbiased estimates of the parts of blocks K, each from r probes.

    Attributes:
        width: d.
        probes: r.
        trace: tr K.
        symmetric: ‖S‖²; never negative.
        antisymmetric: ‖A‖²; never negative.
    """

    width: int
    probes: int
    trace: Float[Tensor, "*pair"]
    symmetric: Float[Tensor, "*pair"]
    antisymmetric: Float[Tensor, "*pair"]

    @property
    def squared_trace(self) -> Float[Tensor, "*pair"]:
        """Unbiased (tr K)²: the square of `trace` less its variance; may be negative."""
        d, r = self.width, self.probes
        return self.trace**2 - 2 * d * (d - r) / (r * (d - 1) * (d + 2)) * self.symmetric

    @property
    def squared_norm(self) -> Float[Tensor, "*pair"]:
        """Unbiased ‖K‖_F²; never negative."""
        return self.symmetric + self.antisymmetric + self.squared_trace / self.width

    @property
    def trace_of_square(self) -> Float[Tensor, "*pair"]:
        """Unbiased tr K²."""
        return self.symmetric - self.antisymmetric + self.squared_trace / self.width

    @property
    def angle(self) -> Float[Tensor, "*pair"]:
        """The arcsine of the alignment tr K/(√d ‖K‖_F), whose cosine is the residual.

        A ratio of two estimates, so biased. It is nan where K is zero.
        """
        rest = (self.width * (self.symmetric + self.antisymmetric)).sqrt()
        angle = torch.atan2(self.trace, rest)
        return angle.masked_fill((self.trace == 0) & (rest == 0), torch.nan)


def parts_of(compressed: Float[Tensor, "*pair row row"], width: int) -> Parts:
    """Estimates the parts of blocks from all probes.

    Args:
        compressed: M = V K Vᵀ.
        width: d.

    Returns:
        The estimates.
    """
    squares, products, diagonal = _terms(compressed)
    return _parts(
        squares.sum((-1, -2)),
        products.sum((-1, -2)),
        diagonal.sum(-1),
        compressed.shape[-1],
        width,
    )


def parts_without_each(compressed: Float[Tensor, "*pair row row"], width: int) -> Parts:
    """Estimates the parts of blocks from all probes but one, for each.

    Args:
        compressed: M = V K Vᵀ.
        width: d.

    Returns:
        The estimates, with a last axis for the probe that is left out.
    """
    squares, products, diagonal = _terms(compressed)
    once = diagonal.square()  # it is in the row and in the column that go
    less_squares = squares.sum(-1) + squares.sum(-2) - once
    less_products = 2 * products.sum(-1) - once
    return _parts(
        squares.sum((-1, -2)).unsqueeze(-1) - less_squares,
        products.sum((-1, -2)).unsqueeze(-1) - less_products,
        diagonal.sum(-1, keepdim=True) - diagonal,
        compressed.shape[-1] - 1,
        width,
    )


def _terms(compressed: Float[Tensor, "*pair row row"]) -> tuple[Tensor, Tensor, Tensor]:
    """Returns M_ab², M_ab M_ba and M_aa."""
    diagonal = compressed.diagonal(dim1=-2, dim2=-1)
    return compressed.square(), compressed * compressed.mT, diagonal


def _parts(squares: Tensor, products: Tensor, trace: Tensor, probes: int, width: int) -> Parts:
    """Returns the parts of K from Σ M_ab², Σ M_ab M_ba and tr M."""
    d, r = width, probes
    symmetric = ((squares + products) / 2 - trace**2 / r).clamp_min(0)  # below zero by rounding
    antisymmetric = ((squares - products) / 2).clamp_min(0)
    return Parts(
        d,
        r,
        d / r * trace,
        (d - 1) * (d + 2) / ((r - 1) * (r + 2)) * symmetric,
        d * (d - 1) / (r * (r - 1)) * antisymmetric,
    )
