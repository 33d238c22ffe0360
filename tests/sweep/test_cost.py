"""A grid of layers and etas costs little more than one cell of it."""

import time

import pytest

from coldlens.models.load import load_model
from coldlens.sweep import demo_facts, load_splits, sweep

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("method", ["ColdFD", "DiffMean"])
def test_sixteen_cells_cost_at_most_four_times_one(method):
    model = load_model("demo")
    splits = {"refusal": load_splits("demo/refusal", validation=20, test=40)}

    def seconds(layers, etas):
        started = time.process_time()
        sweep(model, splits, [method], layers, etas, capability=demo_facts(40))
        return time.process_time() - started

    seconds((0,), (1.0,))
    one, grid = seconds((2,), (1.0,)), seconds((0, 1, 2, 3), (0.1, 0.3, 1.0, 3.0))
    assert grid <= 4 * one, f"{grid:.2f} s and {one:.2f} s"
