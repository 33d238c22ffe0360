"""Estimates from V K Vᵀ: unbiased, exact with every probe, and intervals that cover."""

from functools import cache

import pytest
import torch
from exact.closeness import assert_close, assert_far

from coldlens.agreement.spectrum import identity_fit
from coldlens.errors import NumericsError
from coldlens.kernels.moments import haar_rows, parts_of, parts_without_each
from coldlens.kernels.sketch import sketch_of

EXACT = 1e-12
DRAWS = 2000
SIGMAS = 4
"""Standard errors of a mean over the draws: a right estimator is beyond in one test of 16 000."""


def matrix(width, symmetric=False, shift=0.5):
    """Returns a fixed K that is neither a multiple of I nor free of it."""
    drawn = torch.randn(
        width, width, generator=torch.Generator().manual_seed(width), dtype=torch.float64
    )
    own = drawn @ drawn.T / width if symmetric else drawn
    return own + shift * torch.eye(width, dtype=torch.float64)


@cache
def drawn_rows(probes, width, draws):
    return torch.stack([haar_rows(probes, width, seed) for seed in range(draws)])


def compressed(block, probes, draws=DRAWS):
    """Returns V K Vᵀ for many draws of V."""
    rows = drawn_rows(probes, len(block), draws)
    return rows @ block @ rows.mT


def truth(block):
    """Returns each figure by its definition."""
    trace = block.trace()
    return {
        "trace": trace,
        "squared_trace": trace**2,
        "squared_norm": block.square().sum(),
        "trace_of_square": (block @ block).trace(),
    }


def sigmas(found, expected):
    """Returns by how many standard errors the mean of some draws is off."""
    return ((found.mean() - expected) / found.std() * len(found) ** 0.5).abs().item()


def test_rows_are_orthonormal_and_point_everywhere():
    rows = drawn_rows(3, 7, DRAWS)
    identity = torch.eye(3, dtype=torch.float64).expand(DRAWS, 3, 3)
    assert_close(rows @ rows.mT, identity, EXACT, "V Vᵀ")
    # Without the sign fix, the QR decomposition prefers one sign on the diagonal.
    assert rows.mean(0).abs().max() < 6 / (7 * DRAWS) ** 0.5
    projections = (rows.mT @ rows).mean(0)
    assert_close(projections, 3 / 7 * torch.eye(7, dtype=torch.float64), 0.05, "VᵀV")
    # Fourth moments of a uniform unit vector: 3/(d(d+2)) and 1/(d(d+2)).
    fourth = (rows[:, 0, :1] ** 2 * rows[:, 0, :2] ** 2).mean(0)
    expected = torch.tensor([3 / 63, 1 / 63], dtype=torch.float64)
    assert_close(fourth, expected, 0.1, "fourth moments")


@pytest.mark.parametrize("symmetric", [False, True], ids=["cross", "self"])
@pytest.mark.parametrize(("width", "probes"), [(6, 2), (6, 5), (8, 3), (12, 4)])
def test_estimates_are_unbiased(width, probes, symmetric):
    block = matrix(width, symmetric)
    found = parts_of(compressed(block, probes), width)
    for name, expected in truth(block).items():
        assert sigmas(getattr(found, name), expected) < SIGMAS, name


def test_estimates_of_two_probes_are_biased_without_the_dimensions():
    """Counter-case: squares scaled as the number of entries and the trace suggest."""
    near = matrix(6, shift=3)
    entries = (6 / 2) ** 2 * compressed(near, 2).square().sum((-1, -2))
    assert sigmas(entries, near.square().sum()) > 2 * SIGMAS
    far = matrix(6) - matrix(6).trace() / 6 * torch.eye(6, dtype=torch.float64)
    assert sigmas(parts_of(compressed(far, 2), 6).trace ** 2, far.trace() ** 2) > 2 * SIGMAS


def test_parts_solve_the_equations_of_the_fourth_moments():
    """E P_ij P_kl = a δ_ij δ_kl + b (δ_ik δ_jl + δ_il δ_jk) for P = VᵀV, solved for the three."""
    d, r = 9, 4
    small = compressed(matrix(d), r, draws=5)
    b = r * (d - r) / (d * (d - 1) * (d + 2))
    a = r / d - b * (d + 1)
    squares, products = small.square().sum((-1, -2)), (small * small.mT).sum((-1, -2))
    sums = torch.stack([squares, products, small.diagonal(dim1=-2, dim2=-1).sum(-1) ** 2])
    expected = (sums - b * sums.sum(0) / (a + 2 * b)) / (a - b)
    found = parts_of(small, d)
    three = torch.stack([found.squared_norm, found.trace_of_square, found.squared_trace])
    assert_close(three, expected, EXACT)


@pytest.mark.parametrize("symmetric", [False, True], ids=["cross", "self"])
def test_all_probes_are_exact(symmetric):
    block = matrix(8, symmetric)
    (small,) = compressed(block, 8, draws=1)
    found, expected = sketch_of(small, 8), truth(block)
    for name, fit in identity_fit(block).items():
        assert found.identity_fit()[name].item() == pytest.approx(fit.item(), rel=1e-9)
    assert_close(found.squared_trace, expected["squared_trace"], EXACT)
    assert_close(found.trace_of_square, expected["trace_of_square"], EXACT)
    for name in ("trace", "squared_norm"):
        interval = getattr(found, name)
        for end in (interval.estimate, interval.low, interval.high):
            assert_close(end, expected[name], 1e-9, name)
    assert (found.alignment.high - found.alignment.low).item() == pytest.approx(0, abs=1e-9)


def test_a_probe_is_left_out_by_leaving_out_its_row_and_column():
    small = compressed(matrix(9), 5, draws=3)
    found = parts_without_each(small, 9)
    for probe in range(5):
        kept = [other for other in range(5) if other != probe]
        expected = parts_of(small[:, kept][:, :, kept], 9)
        for name in ("trace", "symmetric", "antisymmetric", "squared_norm", "angle"):
            assert_close(getattr(found, name)[:, probe], getattr(expected, name), 1e-10, name)


def test_the_variance_of_the_trace_is_unbiased():
    block = matrix(10)
    found = sketch_of(compressed(block, 5) + 20 * torch.eye(5, dtype=torch.float64), 10).trace
    student = 2.7764451
    variances = ((found.high - found.estimate) / student) ** 2
    errors = (found.estimate - block.trace() - 200) ** 2
    assert variances.mean() == pytest.approx(errors.mean().item(), rel=0.1)
    # Counter-case: as if the rows were drawn with replacement, the variance is twice as large.
    assert 2 * variances.mean() != pytest.approx(errors.mean().item(), rel=0.5)


@pytest.mark.parametrize("symmetric", [False, True], ids=["cross", "self"])
def test_intervals_cover_as_often_as_is_said(symmetric):
    block = matrix(48, symmetric, shift=1.0)
    found, expected = sketch_of(compressed(block, 16, draws=500), 48), truth(block)
    expected["alignment"] = identity_fit(block)["alignment"]
    for name in ("trace", "squared_norm", "alignment"):
        interval = getattr(found, name)
        assert (interval.low <= interval.estimate).all()
        assert (interval.estimate <= interval.high).all()
        covered = (interval.low <= expected[name]) & (expected[name] <= interval.high)
        assert 0.85 < covered.double().mean() < 0.995, name


def test_a_multiple_of_the_identity_is_recognised():
    (small,) = compressed(-3 * torch.eye(8, dtype=torch.float64), 4, draws=1)
    found = sketch_of(small, 8)
    assert found.alignment.estimate.item() == pytest.approx(-1)
    assert found.alignment.high.item() == pytest.approx(-1, abs=1e-6)
    assert found.trace.estimate.item() == pytest.approx(-24)
    assert found.residual.item() == pytest.approx(0, abs=1e-6)


def test_a_zero_block_has_no_alignment():
    found = sketch_of(torch.zeros(4, 4, dtype=torch.float64), 8)
    assert found.alignment.estimate.isnan()
    for interval in (found.trace, found.squared_norm):
        assert interval.estimate == interval.low.round() == interval.high.round() == 0


def test_too_few_probes_to_conclude():
    small = compressed(matrix(30, shift=0.3), 3, draws=1)
    with pytest.raises(NumericsError, match=r"alignment no wider than 0\.5; found 1 of 1") as error:
        sketch_of(small, 30)
    needed = int(error.value.fix.split()[2])
    assert 3 < needed < 100
    more = compressed(matrix(30, shift=0.3), 24, draws=1)
    sketch_of(more, 30)
    assert_far(small[0, 0, 0], more[0, 0, 0], 1e-3, "other draws")
