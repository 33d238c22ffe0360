"""The algebra of outer products against the matrices that they stand for."""

import pytest
import torch
from exact.closeness import assert_close
from exact.tolerances import EXACT

from coldlens.gradients.factored import Factored, joined
from coldlens.gradients.low_rank import truncated

ROWS, COLS = 11, 7


def matrix(rank, lookups, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    ids = torch.randint(ROWS, (lookups,), generator=generator)
    products = Factored.products(draw(rank, ROWS), draw(rank, COLS))
    return joined([products, Factored.lookups(ids, draw(lookups, COLS), ROWS)])


CASES = [(0, 0), (3, 0), (0, 4), (3, 4), (20, 30)]


@pytest.mark.parametrize(("rank", "lookups"), CASES)
def test_products_with_it(rank, lookups):
    one, other = matrix(rank, lookups), matrix(5, 6, seed=1)
    whole = one.dense()
    assert whole.shape == (ROWS, COLS)
    inputs, outputs = torch.randn(2, 3, COLS).double(), torch.randn(2, 3, ROWS).double()
    ids = torch.arange(ROWS).reshape(1, ROWS)
    pairs = {
        "times": (one.times(inputs), inputs @ whole.T),
        "transposed": (one.transposed_times(outputs), outputs @ whole),
        "lookup": (one.lookup(ids)[0], whole),
        "inner": (one.inner(other), (whole * other.dense()).sum()),
        "square": (one.inner(one), whole.square().sum()),
        "joined": (joined([one, other], 0.5).dense(), 0.5 * (whole + other.dense())),
    }
    for name, (found, expected) in pairs.items():
        assert_close(found, expected, EXACT, name)


def test_joined_shares_inputs_and_changes_no_part():
    parts = [matrix(4, 0), matrix(5, 0, seed=1)]
    before = [part.dense() for part in parts]
    others = [Factored.products(2 * part.left, part.right) for part in parts]
    memo = {}
    one, two = joined(parts, 3.0, memo), joined(others, 3.0, memo)
    assert one.right.data_ptr() == two.right.data_ptr()
    assert_close(two.dense(), 2 * one.dense(), EXACT, "twice")
    assert all(torch.equal(part.dense(), was) for part, was in zip(parts, before, strict=True))


@pytest.mark.parametrize("rank", [1, 3, 6])
def test_truncation_is_the_best_one(rank):
    whole = matrix(20, 0)
    low = truncated(whole, rank, None)
    values = torch.linalg.svdvals(whole.dense())
    assert low.rank == rank
    error = (low.dense() - whole.dense()).norm()
    assert_close(error, values[rank:].norm(), EXACT, "what is left out")


@pytest.mark.parametrize("tolerance", [0.5, 0.1, 1e-9])
def test_truncation_to_a_tolerance(tolerance):
    whole = matrix(20, 3)
    low = truncated(whole, None, tolerance)
    products = Factored.products(whole.left, whole.right).dense()
    error = (low.dense() - whole.dense()).norm() / products.norm()
    assert error <= tolerance
    one_less = truncated(whole, low.rank - 1, None).dense() - whole.dense()
    assert one_less.norm() / products.norm() > tolerance


def test_truncation_of_nothing():
    none = matrix(0, 3)
    assert truncated(none, 2, None) is none
    assert truncated(none, None, 0.1) is none
