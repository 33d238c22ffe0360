"""Time and memory of computations, and on what machine they were measured."""

import multiprocessing
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import torch

Result = TypeVar("Result")


@contextmanager
def one_thread() -> Iterator[None]:
    """Lets torch compute on one thread, so that process time is time.

    Yields:
        Nothing.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def interleaved(calls: Mapping[str, Callable[[], Any]], repetitions: int) -> pd.DataFrame:
    """Times several computations in turns, so that a busy machine slows all of them.

    Args:
        calls: What to time, by name.
        repetitions: How often each.

    Returns:
        Process time in seconds, a row a repetition and a column a name.
    """
    rows = []
    for _ in range(repetitions):
        rows.append({})
        for name, call in calls.items():
            started = time.process_time()
            call()
            rows[-1][name] = time.process_time() - started
    return pd.DataFrame(rows)


def peak_mb() -> float:
    """Returns the most memory that this process ever held, in MB (10⁶ bytes)."""
    unit = 1024 if sys.platform == "linux" else 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def reset_peak_mb() -> float:
    """Forgets what this process held before, where the system can (Linux).

    Returns:
        What it holds now, in MB; elsewhere the peak so far.
    """
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")
    return peak_mb()


def in_fresh_process(function: Callable[..., Result], *arguments: Any) -> Result:
    """Calls a function in a process whose peak of memory is its own.

    The process is forked from a small server: one that is started from a large process can
    inherit the peak of that one.

    Args:
        function: A function of a module.
        *arguments: Its arguments.

    Returns:
        Its result.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([function.__module__])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def machine() -> dict[str, Any]:
    """Returns processor, memory and load, as JSON can hold them."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(pages * size / 1e9, 1),
        "load_average": [round(load, 1) for load in os.getloadavg()],
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
