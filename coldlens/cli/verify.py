"""`coldlens verify`: the equivalences behind COLD-Steer, checked on a model."""

import time
from dataclasses import dataclass
from pathlib import Path

from coldlens.cli.inputs import Inputs, say
from coldlens.equivalence.report import KIND, Equivalences
from coldlens.equivalence.verify import verify_equivalences
from coldlens.files import check_replaceable


@dataclass(frozen=True)
class Verify(Inputs):
    """Check every equivalence behind COLD-Steer, each beside a case that must break it.

    Attributes:
        layers: 0-based blocks; all by default.
        out: Folder for the report: tables and figure.
        n: How many examples to draw; all if there are fewer.
    """

    layers: tuple[int, ...] | None = None
    out: Path = Path("out/verify")
    n: int = 8

    def run(self) -> int:
        """Returns 0 if every claim holds and every counter-case fails, else 1."""
        started = time.perf_counter()
        check_replaceable(self.out, KIND.folder)
        model, examples = self.load()
        checks = verify_equivalences(
            model,
            examples,
            self.layers,
            loss=self.chosen_loss,
            n=self.n,
            seed=self.seed,
            progress=True,
        )
        checks.save(self.out)
        checks.plot().savefig(self.out / "equivalences.png")
        say(f"\n{_text(checks)}\n")
        say(f"Tables and equivalences.png in {self.out} ({time.perf_counter() - started:.1f} s)")
        return 0 if checks.all_hold else 1


def _text(checks: Equivalences) -> str:
    shown = checks.summary()
    columns = [
        "check",
        "claim",
        "held",
        "worst_error",
        "slopes",
        "counter_held",
        "verdict",
    ]
    shown["worst_error"] = shown.worst_error.map(
        lambda error: "–" if error != error else f"{error:.1e}"
    )
    table = shown[columns].to_string(index=False)
    counters = "\n".join(
        f"{check:>5} {case}"
        for check, case in zip(shown["check"], shown["counter_case"], strict=True)
        if case
    )
    broken = checks.broken[["check", "layer", "case", "claim", "detail"]]
    below = "" if broken.empty else f"\n\n{broken.to_string(index=False)}"
    verdict = repr(checks).strip("<>")
    return f"{table}\n\nCounter-cases, which must fail:\n{counters}\n\n{verdict}{below}"
