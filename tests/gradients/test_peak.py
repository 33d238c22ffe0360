"""Memory of a whole fit, as the system counts it, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="peaks are reset through /proc"),
]
SCRIPT = """
import gc, json, sys, warnings
from pathlib import Path

import torch
import transformers
import zoo
from transformer_lens.model_bridge import TransformerBridge

from analyses.measure import peak_mb, reset_peak_mb
from coldlens.capture import Needs, collect
from coldlens.directions import ColdJVP
from coldlens.examples.example import Example, ExampleSet
from coldlens.gradients import gradient_memory
from coldlens.losses import CrossEntropy

COUNT, LENGTH, BATCH = 10, 20, 2
kind, limit = json.loads(sys.argv[1])

def held_mb():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

def run(width, layers, limit):
    sizes = dict(hidden_size=width, intermediate_size=8 * width // 3, num_hidden_layers=layers)
    sizes |= dict(vocab_size=300, max_position_embeddings=64, num_attention_heads=8)
    config = transformers.LlamaConfig(**sizes)
    network = transformers.AutoModelForCausalLM.from_config(config).eval()
    config.architectures = [type(network).__name__]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = TransformerBridge.boot_transformers(
            "x", hf_model=network, tokenizer=zoo.tokenizer(), device="cpu", dtype=torch.float32
        )
    rows = torch.randint(4, 300, (COUNT, LENGTH + 1)).tolist()
    examples = ExampleSet(tuple(Example(tuple(row[:-1]), tuple(row[-1:])) for row in rows))
    before, start = reset_peak_mb(), held_mb()
    if kind == "activations":
        needs = Needs(gradients=frozenset({(CrossEntropy(), "all")}))
        collect(model, examples, (0, layers - 1), needs, batch_size=BATCH)
    else:
        kept = ColdJVP(CrossEntropy(), gradient=kind, max_memory=limit)
        kept = kept.fit(model, examples, batch_size=BATCH)
    peak, held = peak_mb() - before, held_mb() - start
    whole = gradient_memory(config, COUNT * LENGTH, COUNT)
    batch = gradient_memory(config, BATCH * LENGTH, BATCH)
    return dict(peak=peak, held=held, whole=whole.factored / 1e6, batch=batch.factored / 1e6)

torch.set_num_threads(1)
run(32, 2, limit and 50_000)  # what is made on first use does not count
print(json.dumps(run(512, 6, limit)))
"""


def measured(kind, limit=None):
    """Numbers in MB; blocks that are freed go back to the system at once."""
    root = Path(__file__).parents[2]
    folders = os.pathsep.join(map(str, (root, root / "tests")))
    threshold = {f"MALLOC_{name}_THRESHOLD_": "16384" for name in ("MMAP", "TRIM")}
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps([kind, limit])],
        env={**os.environ, **threshold, "PYTHONPATH": folders},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(found.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def activations():
    return measured("activations")["peak"]


def test_the_estimate_is_what_the_process_holds_afterwards():
    found = measured("factored")
    assert abs(found["held"] / found["whole"] - 1) < 0.1, found


@pytest.fixture(scope="module")
def dense():
    return measured("dense")["peak"]


@pytest.mark.parametrize(("kind", "limit"), [("factored", None), ("auto", 30e6), ("auto", 15e6)])
def test_a_fit_stays_within_its_budget(kind, limit, activations, dense):
    """The gradient; for the batch in work its activations and thrice its outer products.

    And as much as these activations again for the prompts at which a truncation is measured.
    """
    found = measured(kind, limit)
    kept = found["whole"] if limit is None else limit / 1e6
    assert found["peak"] <= kept + 2 * activations + 3 * found["batch"], (found, activations)
    # The dense form would not fit in.
    assert dense > 2 * found["peak"]
