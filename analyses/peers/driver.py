"""Drives the peers' process, one computation at a time, so that it takes turns with ours."""

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from analyses.peers.clock import Run
from coldlens.errors import ColdlensError

ROOT = Path(__file__).parents[2]
MODULE = "analyses.peers.worker"


class Peers:
    """The process, from `with` to its end.

    Attributes:
        versions: Of the peers and what they compute with, after the first `prepare`.
    """

    def __init__(self, command: Sequence[str | Path]) -> None:
        """Prepares to start it.

        Args:
            command: What starts it.
        """
        self._command = [str(part) for part in command]
        self.versions: dict[str, str] = {}

    def __enter__(self) -> "Peers":
        """Starts it, on one thread.

        Returns:
            Itself.
        """
        self._complaints = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends it."""
        if kind is not None:
            self._process.kill()
        self._process.communicate()
        self._complaints.close()

    def prepare(self, folder: Path, batch_size: int) -> None:
        """Loads a model and pairs.

        Args:
            folder: Their folder.
            batch_size: Pairs that are run at once.
        """
        answer = self._asked({"folder": str(folder.resolve()), "batch_size": batch_size})
        self.versions = answer["versions"]

    def run(self, name: str) -> Run:
        """Measures a peer.

        Args:
            name: `"steering-vectors"` or `"repeng"`.

        Returns:
            Time, memory, and a vector a layer.
        """
        answer = self._asked({"run": name})
        vectors = {int(layer): torch.tensor(one) for layer, one in answer["found"].items()}
        return Run(answer["seconds"], answer["peak_mb"], vectors)

    def _asked(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        answer = json.loads(line) if line else {"error": self._last_words()}
        if "error" in answer:
            raise ColdlensError(
                expected=f"an answer of {self._command[0]} to {request}",
                found=answer["error"].strip().splitlines()[-1],
                fix="Remove its folder, so that the environment is made anew",
            )
        return answer

    def _last_words(self) -> str:
        self._process.wait()
        self._complaints.seek(0)
        return self._complaints.read() or "the process ended"
