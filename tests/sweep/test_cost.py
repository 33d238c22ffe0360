"""What a grid of layers and etas costs beside one cell of it.

One block over the questions of all splits is the unit. A cell at layer l of a model with L blocks
costs the L − 1 − l blocks above it and the tokens that are read, for each method: the residual
stream of every steered token is another one in each cell. The passes over the examples and the
displacements of the questions are shared by all cells. So M methods at all L layers and E etas
cost F + M·E·L(L−1)/2 blocks, with F what is shared. On the bundled model, four by four cells and
one at layer 2, that is F + 24 M beside F′ + M, with F′ a little below F: 2.2 to 3.3 times as many
operations for one method, about seven times for the eight here, which share F, and towards 24 for
many. Time grows less, since tokenising and tables are shared too.
"""

import json
import subprocess
import sys

import pytest
from sweep.conftest import SPLITS, UNRELATED, run
from torch.utils.flop_counter import FlopCounterMode

EIGHT = ("DiffMean", "RepE", "ICV", "Probe", "ColdKernel", "ColdFD", "FineTune", "Random")
SCRIPT = """
import json, sys, time
from torch.utils.flop_counter import FlopCounterMode
from coldlens.models.load import load_model
from coldlens.sweep import demo_facts, load_splits, sweep

model, methods = load_model("demo"), sys.argv[1:]
splits = {"refusal": load_splits("demo/refusal", validation=40, test=100)}
one, grid = ((2,), (1.0,)), (None, (0.1, 0.3, 1.0, 3.0))

def run(layers, etas):
    sweep(model, splits, methods, layers, etas, capability=demo_facts(120))

def seconds(cells):
    started = time.process_time()
    run(*cells)
    return time.process_time() - started

def operations(cells):
    with FlopCounterMode(display=False) as counter:
        run(*cells)
    return counter.get_total_flops()

run((0,), (1.0,))
print(json.dumps([[measure(one), measure(grid)] for measure in (seconds, operations)]))
"""


def operations(model, layers, etas):
    """Counts the operations of a small sweep whose methods fit and move in different ways."""
    with FlopCounterMode(display=False) as counter:
        run(
            model,
            {"first": SPLITS["first"]},
            methods=["DiffMean", "ColdFD"],
            layers=layers,
            etas=etas,
            seeds=(0,),
            losses=None,
        )
    return counter.get_total_flops()


def test_an_eta_more_costs_the_blocks_above_and_nothing_else(bridge):
    """Exactly, by operation count: in a grid, and at the layer below the last."""

    def two_more(layers):
        return operations(bridge, layers, (0.5, 1.0, 2.0)) - operations(bridge, layers, (1.0,))

    count = len(bridge.blocks)
    asked = len(SPLITS["first"].validation) + len(SPLITS["first"].test) + len(UNRELATED)
    methods_and_etas = 2 * 2
    read = methods_and_etas * asked * 2 * bridge.cfg.d_model * bridge.cfg.d_vocab
    block = two_more((count - 2,)) - read
    assert block > 0
    assert two_more(None) == count * read + count * (count - 1) // 2 * block


@pytest.mark.slow
@pytest.mark.parametrize("methods", [("DiffMean",), ("ColdFD",), EIGHT], ids=len)
def test_the_cost_of_sixteen_cells(methods, record_property, capsys):
    """Processor time is a number to read, which noise can move; operations are counted."""
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, *methods], capture_output=True, text=True, check=True
    )
    seconds, counted = json.loads(found.stdout.splitlines()[-1])
    ratios = [grid / one for one, grid in (seconds, counted)]
    record_property("seconds_ratio", ratios[0])
    record_property("operations_ratio", ratios[1])
    with capsys.disabled():
        one, grid = seconds
        print(  # noqa: T201
            f"\n{', '.join(methods)}: {grid:.2f} s / {one:.2f} s = {ratios[0]:.2f}; "
            f"operations {ratios[1]:.2f}"
        )
    assert 0 < seconds[0] < seconds[1]
    assert ratios[1] <= (4 if len(methods) == 1 else 16)
