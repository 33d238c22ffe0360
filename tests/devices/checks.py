"""What is computed on two devices, and what the host waits for, where a second one exists."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from devices.elsewhere import ELSEWHERE, TwoDevices
from devices.shards import far, offloaded, sharded, whole
from exact.cases import DATA
from exact.closeness import assert_close
from exact.tolerances import EXACT, FORWARD
from pandas.testing import assert_frame_equal

import coldlens as cl
from coldlens.capture import Needs, collect
from coldlens.gradients import Form
from coldlens.losses import DPO
from coldlens.steering.steering import Steering

torch.set_num_threads(1)
EXAMPLES = DATA["paired"]
LOSS = DPO(beta=0.7)
# Differences in float32 are of rounded residual streams, which are not the same ones.
BOUNDS = {torch.float64: EXACT, torch.float32: FORWARD}
FORMS = ({"gradient": "dense"}, {"gradient": "factored"}, {"gradient": "low_rank", "rank": 4})
METHODS = (
    cl.DiffMean(),
    cl.RepE(),
    cl.ICV(),
    cl.ColdKernel(LOSS),
    cl.ColdKernel(LOSS, kernel="linear"),
    cl.ColdKernel(LOSS, kernel="entk", positions="all"),
    *(cl.ColdFD(LOSS, epsilon=1e-3, **form) for form in FORMS),
    *(cl.ColdJVP(LOSS, **form) for form in FORMS),
)
STEERED = (
    cl.ColdKernel(LOSS, kernel="linear"),
    cl.ColdFD(LOSS, epsilon=1e-3, gradient="factored"),
    cl.ColdJVP(LOSS, gradient="factored"),
)
ALL = torch.tensor([[1, 6, 7, 8, 9, 10, 11], [1, 30, 35, 4, 5, 0, 0]])


def places(name: str, dtype: torch.dtype) -> set[str]:
    """Returns where the parameters of a sharded model are."""
    with TwoDevices():
        return {str(one.device) for one in sharded(name, dtype).original_model.parameters()}


def mixing() -> str:
    """Returns what an operation on tensors of two devices says."""
    with TwoDevices():
        try:
            torch.ones(2, 2) @ torch.ones(2, 2, device=ELSEWHERE)
        except RuntimeError as error:
            return str(error)
    return "nothing"


def same_directions(name: str, dtype: torch.dtype) -> None:
    """Fails unless each method finds the same on two devices and gives it back on the first.

    The one on two devices has been saved and loaded.
    """
    with TwoDevices(), TemporaryDirectory() as folder:
        one, two = whole(name, dtype), sharded(name, dtype)
        file = Path(folder) / "steering"
        for method in METHODS:
            method.fit(two, EXAMPLES).save(file)
            expected = method.fit(one, EXAMPLES).displacement(ALL, ALL > 0)
            for layer, values in Steering.load(file, two).displacement(ALL, ALL > 0).items():
                assert values.device == ALL.device, (method.label, layer, values.device)
                what = f"{method.label} at layer {layer}"
                assert_close(values, expected[layer], BOUNDS[dtype], what)


def same_offloaded(name: str, dtype: torch.dtype) -> None:
    """Fails unless each method finds the same with weights that are brought from the CPU."""
    one, two = whole(name, dtype), offloaded(name, dtype)
    with TwoDevices():
        there = ALL.to(ELSEWHERE)
        for method in METHODS:
            if getattr(method, "kernel", None) == "linear":
                continue  # reads the model as it is: accelerate cannot load to a device of Python
            expected = method.fit(one, EXAMPLES).displacement(ALL, ALL > 0)
            found = method.fit(two, EXAMPLES).displacement(there, there > 0)
            for layer, values in found.items():
                assert values.device == ELSEWHERE, (method.label, layer, values.device)
                what = f"{method.label} at layer {layer}"
                assert_close(values.cpu(), expected[layer], BOUNDS[dtype], what)


def same_steering(name: str, dtype: torch.dtype) -> None:
    """Fails unless a steered model has the same logits on two devices, whichever it steers."""
    inputs = {"attention_mask": (ALL > 0).long(), "return_type": "logits"}
    with TwoDevices():
        models = whole(name, dtype), sharded(name, dtype)
        for method in STEERED:
            fitted = [method.fit(model, EXAMPLES) for model in models]
            for layer in (0, 1, [0, 2]):
                logits = []
                for model, steering in zip(models, fitted, strict=True):
                    with steering.apply(model, layer=layer, eta=0.3), torch.no_grad():
                        logits.append(model(ALL, **inputs)[ALL > 0])
                assert_close(logits[1], logits[0], BOUNDS[dtype], f"{method.label} at {layer}")


def same_tables(name: str, dtype: torch.dtype) -> None:
    """Fails unless `compare_directions` and `evaluate` have the same tables on two devices."""
    with TwoDevices():
        tables = []
        for model in (whole(name, dtype), sharded(name, dtype)):
            report = cl.compare_directions(model, EXAMPLES)
            steering = cl.ColdFD(LOSS, epsilon=1e-3).fit(model, EXAMPLES)
            scores = [cl.evaluate(model, EXAMPLES, steering, at, 0.5).table for at in (0, 2)]
            tables.append([report.table, report.tokens, *scores])
        for expected, found in zip(*tables, strict=True):
            assert_frame_equal(found, expected, rtol=BOUNDS[dtype], atol=BOUNDS[dtype])


def _gathering(needs: Needs) -> Callable[[Any], Callable[[], Any]]:
    def prepared(model: Any) -> Callable[[], Any]:
        layers = tuple(range(len(model.blocks)))
        return lambda: collect(model, EXAMPLES, layers, needs)

    return prepared


def _displacing(method: Any) -> Callable[[Any], Callable[[], Any]]:
    def prepared(model: Any) -> Callable[[], Any]:
        steering, tokens = method.fit(model, EXAMPLES), ALL.to(ELSEWHERE)
        return lambda: steering.field(tokens, tokens > 0, steering.layers)

    return prepared


def _steering(method: Any, layers: slice) -> Callable[[Any], Callable[[], Any]]:
    def prepared(model: Any) -> Callable[[], Any]:
        steering, tokens = method.fit(model, EXAMPLES), ALL.to(ELSEWHERE)

        def run() -> None:
            with steering.apply(model, layer=steering.layers[layers]), torch.no_grad():
                model(tokens, use_cache=False)

        return run

    return prepared


WORK = {
    "dense": _gathering(Needs(parameter_gradients=frozenset({LOSS}))),
    "factored": _gathering(Needs(parameter_gradients=frozenset({(LOSS, Form("factored"))}))),
    "activations": _gathering(
        Needs(frozenset({("positive", "answer")}), gradients=frozenset({(LOSS, "last_prompt")}))
    ),
    "moved": _displacing(cl.ColdFD(LOSS, epsilon=1e-3, gradient="factored")),
    "pushforward": _displacing(cl.ColdJVP(LOSS, gradient="factored")),
    "steered by a vector": _steering(cl.DiffMean(), slice(None)),
    "steered by a tangent": _steering(cl.ColdJVP(LOSS, gradient="factored"), slice(None)),
    # At several layers it takes a pair of forwards for each.
    "steered by a difference": _steering(
        cl.ColdFD(LOSS, epsilon=1e-3, gradient="factored"), slice(-1, None)
    ),
}


def waits(work: str, layers: int) -> dict[str, int]:
    """Returns how often the host waits for a device that has the whole model, by operation."""
    with TwoDevices() as mode:
        run = WORK[work](far(layers))
        mode.waits.clear()
        run()
        return dict(mode.waits)
