"""`coldlens kernel`: the identity kernel against the full empirical NTK."""

import time
from dataclasses import dataclass
from pathlib import Path

from coldlens.agreement.agreement import kernel_agreement
from coldlens.agreement.report import KIND
from coldlens.cli.inputs import Inputs, read_lines, say
from coldlens.files import check_replaceable
from coldlens.kernels.ntk import Algorithm


@dataclass(frozen=True)
class Kernel(Inputs):
    """Measure how far the identity kernel of COLD-Kernel is from the empirical NTK.

    Attributes:
        layers: 0-based blocks; all by default.
        out: Folder for the report: tables and figure.
        n: How many examples to draw; all if there are fewer.
        queries: A text file with one query prompt a line; by default five of the examples'.
        method: How blocks are computed: exactly, by Jacobians (slow), or sketched, for big models.
        probes: Random directions of a sketch.
    """

    layers: tuple[int, ...] | None = None
    out: Path = Path("out/kernel")
    n: int = 10
    queries: Path | None = None
    method: Algorithm = "structured"
    probes: int = 32

    def run(self) -> int:
        """Returns 0 after measuring, writing the report and printing what it says."""
        started = time.perf_counter()
        check_replaceable(self.out, KIND.folder)
        queries = None if self.queries is None else read_lines(self.queries)
        model, examples = self.load()
        agreement = kernel_agreement(
            model,
            examples,
            self.layers,
            queries,
            loss=self.chosen_loss,
            method=self.method,
            probes=self.probes,
            seed=self.seed,
            progress=True,
        )
        agreement.save(self.out)
        agreement.plot().savefig(self.out / "kernels.png")
        say(f"\n{agreement.summary()}\n")
        say(f"Tables and kernels.png in {self.out} ({time.perf_counter() - started:.1f} s)")
        return 0
