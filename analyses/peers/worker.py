"""Runs in the peers' environment: reads a JSON object a line, answers with one a line."""

# The libraries are installed in that environment alone.
# pyright: reportMissingImports=false

import json
import sys
import traceback
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from repeng import ControlVector, DatasetEntry
from steering_vectors import train_steering_vector
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from analyses.peers.clock import clocked, touch

PACKAGES = ("steering-vectors", "repeng", "transformers", "torch", "numpy", "scikit-learn")


class Prepared:
    """A model and pairs of texts, as `analyses.benchmark.subject` wrote them."""

    def __init__(self, folder: Path, batch_size: int) -> None:
        """Loads them.

        Args:
            folder: Their folder.
            batch_size: Pairs that are run at once.
        """
        self.model = AutoModelForCausalLM.from_pretrained(folder).eval()
        touch(self.model.parameters())
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        self.pairs = [tuple(pair) for pair in json.loads((folder / "pairs.json").read_text())]
        self.batch_size = batch_size

    def steering_vectors(self) -> Mapping[int, Any]:
        """Returns the mean difference at the last token, of every layer."""
        found = train_steering_vector(
            self.model, self.tokenizer, self.pairs, batch_size=self.batch_size
        )
        return found.layer_activations

    def repeng(self) -> Mapping[int, Any]:
        """Returns the first principal component of the differences at the last token.

        A batch of its own is one of texts, two a pair. By default it leaves out the first layer.
        """
        found = ControlVector.train(
            self.model,
            self.tokenizer,
            [DatasetEntry(*pair) for pair in self.pairs],
            hidden_layers=range(self.model.config.num_hidden_layers),
            batch_size=2 * self.batch_size,
        )
        return found.directions

    def answer(self, name: str) -> dict[str, Any]:
        """Measures one of them.

        Args:
            name: `"steering-vectors"` or `"repeng"`.

        Returns:
            Seconds, MB, and a vector a layer.
        """
        calls: dict[str, Callable[[], Mapping[int, Any]]] = {
            "steering-vectors": self.steering_vectors,
            "repeng": self.repeng,
        }
        run = clocked(calls[name])
        vectors = {layer: vector.tolist() for layer, vector in run.found.items()}
        return {"seconds": run.seconds, "peak_mb": run.peak_mb, "found": vectors}


def main() -> None:
    """Answers until the input ends; what the libraries print goes to the errors."""
    torch.set_num_threads(1)
    prepared: Prepared | None = None
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if prepared is None or "folder" in request:
                prepared = Prepared(Path(request["folder"]), request["batch_size"])
                answer = {"versions": {name: version(name) for name in PACKAGES}}
            else:
                answer = prepared.answer(request["run"])
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
