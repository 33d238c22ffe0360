"""Directions, fits, steered answers and a sweep beside other libraries and beside plain passes.

`python -m analyses.benchmark` makes an environment for the peers once, then takes up to half
an hour on one core; with `--quick`, seconds and without peers. What exact kernel blocks cost
beside Jacobian contraction is measured by `analyses.kernel_cost`.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from analyses.benchmark import parts, steered
from analyses.benchmark.promises import promised
from analyses.benchmark.subject import Size, Subject
from analyses.benchmark.tables import agreement, along, bounds, growth, ratios
from analyses.measure import machine, one_thread
from analyses.peers.driver import MODULE, Peers
from analyses.peers.environment import interpreter
from coldlens.checks import above_zero
from coldlens.figures.analysis import Analysis, chosen
from coldlens.figures.drawings import benchmark
from coldlens.figures.record import Tables

logger = logging.getLogger("coldlens.benchmark")

Part = Callable[[Subject], parts.Calls]

WARM = Size(64, 2, 8, 4)
"""What every computation runs on first, so that what it imports and compiles does not count."""
CENTRE = Size(128, 4, 32, 16)
AXES: Mapping[str, tuple[int, ...]] = {
    "d": (64, 128, 256),
    "layers": (2, 4, 8),
    "tokens": (16, 32, 64, 128),
    "examples": (8, 16, 32),
}
"""One size at a time is changed from the centre."""


@dataclass(frozen=True)
class Main:
    """A size for which something is promised.

    Attributes:
        size: The sizes.
        layers: The layers that are steered.
        tangent: Plain forwards that one dual forward may cost.
        whole: Also measure the fits of pairs and the sweep.
    """

    size: Size
    layers: tuple[int, ...]
    tangent: float
    whole: bool = True


MAIN = (
    Main(Size(256, 8, 64, 50), (1, 3, 7), 4),
    Main(Size(576, 14, 64, 50), (6,), 3, whole=False),
)
QUICK_MAIN = (Main(Size(64, 2, 24, 8), (0,), 4),)
QUICK_AXES: Mapping[str, tuple[int, ...]] = {"d": (64, 128), "examples": (4, 8)}
QUICK_CENTRE = Size(64, 2, 16, 8)


@dataclass(frozen=True)
class Benchmark(Analysis):
    """Measure time and peak memory beside steering-vectors, repeng and plain passes.

    Everything runs on one thread, in turns, on Llamas with random weights of 8 and 60 million
    parameters, 50 pairs and 50 questions of about 64 tokens, 8 at once.

    Attributes:
        peers: Also measure the other libraries, in an environment that is made for them.
        repetitions: How often everything is measured.
    """

    peers: bool = True
    repetitions: int = 3

    drawing = benchmark.DRAWING
    QUICK: ClassVar = {"peers": False, "repetitions": 1}

    def run(self) -> Tables:
        """Returns the tables by name after writing them, or those that are there."""
        above_zero("repetitions", self.repetitions)
        used, versions = chosen(self), {}
        return used.made(
            "random",
            {},
            lambda: used._measured(versions),
            lambda: {"machine": machine(), "peers": versions},
        )

    def _measured(self, versions: dict[str, str]) -> Tables:
        main, axes, centre = (
            (QUICK_MAIN, QUICK_AXES, QUICK_CENTRE) if self.quick else (MAIN, AXES, CENTRE)
        )
        small = [replace(centre, **{axis: size}) for axis in axes for size in axes[axis]]
        rows: list[dict[str, Any]] = []
        compared, alike = [], []
        with one_thread(), self._started() as peers:
            _rounds(Subject(WARM, peers), _of(Main(WARM, (0,), 1)), 0)
            for size in dict.fromkeys(small):
                found, _ = _rounds(Subject(size, peers), SMALL_PARTS, self.repetitions)
                rows += found
            for one in main:
                subject = Subject(one.size, peers)
                found, results = _rounds(subject, _of(one), self.repetitions)
                rows += found
                ratio = ratios(pd.DataFrame(found), promised(one.size, one.layers, one.tangent))
                # Nothing is promised for the sizes of a quick run.
                compared.append(ratio.assign(limit=float("nan")) if self.quick else ratio)
                alike.append(agreement(subject, results))
            versions |= peers.versions if peers else {}
        times, found = pd.DataFrame(rows), pd.concat(alike, ignore_index=True)
        lines = along(times, centre, axes)
        return {
            "times": times,
            "lines": lines,
            "growth": growth(lines),
            "agreement": found,
            "bounds": bounds(pd.concat(compared, ignore_index=True), found),
        }

    @contextmanager
    def _started(self) -> Iterator[Peers | None]:
        """Yields the process of the peers, or None where they are left out."""
        if not self.peers:
            logger.info("steering-vectors and repeng are left out: nothing is compared with them")
            yield None
            return
        with Peers(_peers()) as peers:
            yield peers


SMALL_PARTS: Mapping[str, Part] = {"vectors": parts.vectors, "fits": parts.fits}


def _peers() -> list[str | Path]:
    """Returns the command that starts the peers, after making their environment."""
    return [interpreter(), "-m", MODULE]


def _of(main: Main) -> dict[str, Part]:
    """Returns the parts that are measured on a model."""
    found: dict[str, Part] = {
        **SMALL_PARTS,
        "answers": lambda subject: steered.answers(subject, main.layers),
    }
    if main.whole:
        found |= {"paired fits": parts.paired_fits, "grid": steered.grid}
    return found


def _rounds(
    subject: Subject, measured: Mapping[str, Part], repetitions: int
) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """Measures the computations of each part in turns, after a round that does not count.

    Args:
        subject: What they run on.
        measured: The parts by name.
        repetitions: How often.

    Returns:
        A row a computation and repetition, and what they returned last, by part and name.
    """
    rows, found = [], {}
    for part, make in measured.items():
        calls = make(subject)
        logger.info("%s: %s", subject.size, part)
        for repetition in range(-1, repetitions):
            for name, call in calls.items():
                run = call()
                if repetition < 0:
                    continue
                found.setdefault(part, {})[name] = run.found
                rows.append(
                    {
                        "part": part,
                        "what": name,
                        **subject.columns(),
                        "repetition": repetition,
                        "seconds": run.seconds,
                        "peak_mb": run.peak_mb,
                    }
                )
    return rows, found
