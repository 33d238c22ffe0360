"""Time and peak memory of one computation, measured alike on both sides: standard library only."""

import ctypes
import gc
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Run:
    """One computation.

    Attributes:
        seconds: Process time.
        peak_mb: The most memory beyond what the process held before, in MB (10⁶ bytes); nan
            where the system does not tell (it is read from Linux's /proc).
        found: What it returned.
    """

    seconds: float
    peak_mb: float
    found: Any


def clocked(call: Callable[[], Any]) -> Run:
    """Runs a computation and measures it.

    Free memory goes back to the system first: what an earlier computation has left in the heap
    would hide what this one takes.

    Args:
        call: The computation.

    Returns:
        Time, memory and result.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    before = _reset()
    started = time.process_time()
    found = call()
    seconds = time.process_time() - started
    return Run(seconds, _held("VmHWM") - before, found)


def touch(weights: Iterable[Any]) -> None:
    """Reads every weight, so that none is first read from its file by what is measured.

    Args:
        weights: Tensors.
    """
    for values in weights:
        values.sum()


def _reset() -> float:
    """Sets the peak to what is held now.

    Returns:
        That, in MB.
    """
    counters = Path("/proc/self/clear_refs")
    if counters.exists():
        counters.write_text("5")
    return _held("VmRSS")


def _held(field: str) -> float:
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    (line,) = [line for line in status.read_text().splitlines() if line.startswith(f"{field}:")]
    return int(line.split()[1]) * 1024 / 1e6
