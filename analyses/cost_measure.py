"""Fitting every method on random models of given sizes: time, and memory in a fresh process."""

from dataclasses import asdict, replace
from time import process_time

import pandas as pd
import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from analyses.kernel_methods import Case
from analyses.measure import in_fresh_process, one_thread, peak_mb, reset_peak_mb
from coldlens.directions import (
    ColdFD,
    ColdJVP,
    ColdKernel,
    DiffMean,
    FineTune,
    Method,
    Probe,
    RepE,
)
from coldlens.examples.example import Example, ExampleSet
from coldlens.models.parameters import upstream

METHODS: dict[str, Method] = {
    method.label: method
    for method in (DiffMean(), RepE(), Probe(), ColdKernel(), ColdFD(), ColdJVP(), FineTune())
}
_TINY = Case(32, 1, 4, 2)
_RESOLVED_MB = 0.1  # less is below what systems count


def measure(case: Case, repetitions: int) -> pd.DataFrame:
    """Measures every method on one model and set of examples.

    Args:
        case: The sizes.
        repetitions: How often each is timed.

    Returns:
        A row a method and repetition: `fit_seconds` and `input_seconds` of process time on one
        thread, and `peak_mb` of both together beyond what the process held before.
    """
    model, examples, prompt = prepared(case)
    size = sum(found.tensor.numel() for found in upstream(model, case.layers - 1).values())
    rows = []
    with one_thread():
        for repetition in range(repetitions):
            for name, method in METHODS.items():
                started = process_time()
                steering = method.fit(model, examples)
                fitted = process_time()
                steering.displacement(prompt)
                seconds = {
                    "fit_seconds": fitted - started,
                    "input_seconds": process_time() - fitted,
                }
                rows.append({"method": name, "repetition": repetition, **seconds})
    peaks = {name: in_fresh_process(alone, name, case) for name in METHODS}
    table = pd.DataFrame(rows)
    table["peak_mb"] = table.method.map(peaks)
    return table.assign(**asdict(case), parameters=size)


def alone(name: str, case: Case) -> float:
    """Fits and applies one method, for a process of its own.

    It runs on a tiny model first, so that what it imports on first use does not count.

    Args:
        name: The method.
        case: The sizes.

    Returns:
        MB beyond what the process held with the model loaded.
    """
    with one_thread():
        for sizes in (_TINY, case):
            model, examples, prompt = prepared(sizes)
            before = reset_peak_mb()
            METHODS[name].fit(model, examples).displacement(prompt)
            added = peak_mb() - before
    return max(added, _RESOLVED_MB)


def prepared(case: Case) -> tuple[TransformerBridge, ExampleSet, Tensor]:
    """Makes a model, examples and one new input.

    Args:
        case: The sizes.

    Returns:
        The model; pairs whose completions differ in their only token; token ids [1, pos].
    """
    sequences = replace(case, examples=case.examples + 1).sequences()
    examples = tuple(Example(ids[:-1], (1,), (2,)) for ids in sequences[:-1])
    return case.model(), ExampleSet(examples, name="random"), torch.tensor([sequences[-1]])
