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
from coldlens.directions import ColdFD
from coldlens.examples.example import Example, ExampleSet
from coldlens.gradients import Factored, gradient_memory
from coldlens.losses import CrossEntropy

kind, limit, count, length = json.loads(sys.argv[1])

def held_mb():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

def run(width, layers, count, length, kind, limit):
    sizes = dict(hidden_size=width, intermediate_size=8 * width // 3, num_hidden_layers=layers)
    sizes |= dict(vocab_size=300, max_position_embeddings=256, num_attention_heads=8)
    config = transformers.LlamaConfig(**sizes)
    network = transformers.AutoModelForCausalLM.from_config(config).eval()
    config.architectures = [type(network).__name__]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = TransformerBridge.boot_transformers(
            "x", hf_model=network, tokenizer=zoo.tokenizer(), device="cpu", dtype=torch.float32
        )
    rows = torch.randint(4, 300, (count, length + 1)).tolist()
    examples = ExampleSet(tuple(Example(tuple(row[:-1]), tuple(row[-1:])) for row in rows))
    before, start = reset_peak_mb(), held_mb()
    kept = ColdFD(CrossEntropy(), gradient=kind, max_memory=limit).fit(model, examples)
    peak, held = peak_mb() - before, held_mb() - start
    ranks = [part.rank for part in kept.direction.values() if isinstance(part, Factored)]
    whole = gradient_memory(config, count * length, count).factored / 1e6
    return dict(peak=peak, held=held, whole=whole, rank=max(ranks, default=None))

torch.set_num_threads(1)
run(32, 2, 2, 6, "low_rank", None)  # what is made on first use does not count
print(json.dumps(run(512, 6, count, length, kind, limit)))
"""


def measured(kind, limit, count, length, **settings):
    """Numbers in MB, and the highest rank of outer products."""
    root = Path(__file__).parents[2]
    folders = os.pathsep.join(map(str, (root, root / "tests")))
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps([kind, limit, count, length])],
        env={**os.environ, **settings, "PYTHONPATH": folders},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(found.stdout.splitlines()[-1]) | {"said": found.stderr}


def test_the_estimate_is_what_the_process_holds_afterwards():
    # Blocks that are freed go back to the system at once.
    settings = {f"MALLOC_{name}_THRESHOLD_": "16384" for name in ("MMAP", "TRIM")}
    found = measured("factored", None, 10, 20, **settings)
    assert abs(found["held"] / found["whole"] - 1) < 0.1, found


@pytest.mark.parametrize(
    ("limit", "count", "length", "without", "rank"),
    [
        # Tensors would do, with fewer than eight examples at once.
        (300e6, 16, 128, "dense", None),
        (120e6, 10, 20, "dense", 200),
        (65e6, 10, 20, "factored", "less"),
    ],
    ids=["smaller batch", "factored", "low rank"],
)
def test_a_fit_stays_within_its_budget(limit, count, length, without, rank):
    """In an ordinary process, and it would not do so by itself."""
    found = measured("auto", limit, count, length)
    assert found["peak"] <= limit / 1e6, found
    assert found["rank"] < 200 if rank == "less" else found["rank"] == rank, found
    assert ("is truncated" in found["said"]) == (rank == "less")
    assert measured(without, None, count, length)["peak"] > limit / 1e6
