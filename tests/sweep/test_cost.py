"""What a grid of layers and etas costs beside one cell of it, without the tests' type checker."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow
EIGHT = ("DiffMean", "RepE", "ICV", "Probe", "ColdKernel", "ColdFD", "FineTune", "Random")
SCRIPT = """
import json, sys, time
from coldlens.models.load import load_model
from coldlens.sweep import demo_facts, load_splits, sweep

model, methods = load_model("demo"), sys.argv[1:]
splits = {"refusal": load_splits("demo/refusal", validation=40, test=100)}

def seconds(layers, etas):
    started = time.process_time()
    sweep(model, splits, methods, layers, etas, capability=demo_facts(120))
    return time.process_time() - started

seconds((0,), (1.0,))
print(json.dumps([seconds((2,), (1.0,)), seconds(None, (0.1, 0.3, 1.0, 3.0))]))
"""


@pytest.mark.parametrize("methods", [("DiffMean",), ("ColdFD",), EIGHT], ids=len)
def test_the_cost_of_sixteen_cells(methods, record_property, capsys):
    """Processor time, printed and recorded: a number to read, not a bound that noise can break."""
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, *methods], capture_output=True, text=True, check=True
    )
    one, grid = json.loads(found.stdout.splitlines()[-1])
    record_property("ratio", grid / one)
    with capsys.disabled():
        print(f"\n{', '.join(methods)}: {grid:.2f} s / {one:.2f} s = {grid / one:.2f}")  # noqa: T201
    assert 0 < one < grid
