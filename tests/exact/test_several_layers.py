"""Several layers at once: each displacement given the interventions at the layers before."""

import pytest
import torch
from exact.cases import INPUTS
from exact.closeness import assert_close, assert_far

from coldlens.directions import ColdFD, ColdJVP, ColdKernel, FineTune
from coldlens.examples.batch import pad
from coldlens.examples.positions import select
from coldlens.references import (
    difference_given,
    jacobian_given,
    linear_kernel_given,
    parameter_gradient,
    position_indices,
    run,
)
from coldlens.steering.intervention import Intervention

STEERED = (0, 2)
EPSILON = 0.01


def methods(loss):
    return {
        "jacobian": ColdJVP(loss),
        "difference": ColdFD(loss, epsilon=EPSILON),
        "step": FineTune(1, 0.5, loss),
        "linear": ColdKernel(loss, kernel="linear"),
    }


def literal(setting, kind, ids, eta, tokens):
    if kind == "linear":
        return linear_kernel_given(
            setting.model, setting.encoded, setting.loss, ids, STEERED, eta, tokens
        )
    g = parameter_gradient(setting.model, setting.encoded, setting.loss)
    if kind == "jacobian":
        return jacobian_given(setting.model, ids, g, STEERED, eta, tokens)
    step, scale = (EPSILON, -1 / EPSILON) if kind == "difference" else (-0.5, 1.0)
    return difference_given(setting.model, ids, g, step, scale, STEERED, eta, tokens)


@pytest.mark.parametrize(
    ("kind", "positions"),
    [
        ("jacobian", (-2, None)),
        ("jacobian", "prompt"),
        ("difference", (-2, None)),
        ("step", "prompt"),
        ("linear", (-2, None)),
    ],
    ids=str,
)
def test_displacement_given_earlier_interventions(small_paired, kind, positions):
    setting, inputs = small_paired, INPUTS[1:]
    steering = methods(setting.loss)[kind].fit(setting.model, setting.examples)
    tokens, mask = pad(inputs)
    chosen = select(positions, mask, torch.zeros_like(mask))
    plain = steering.field(tokens, mask, STEERED)
    eta = (0.3 * run(setting.model, inputs[0])[0][0].norm() / plain[0].norm()).item()
    found = steering.field(tokens, mask, STEERED, Intervention(STEERED, eta, chosen))
    for place, ids in enumerate(inputs):
        steered = position_indices(positions, len(ids), 0)
        expected = literal(setting, kind, ids, eta, steered)
        for layer in STEERED:
            what = f"{kind} at layer {layer}, input {place}"
            assert_close(found[layer][place, : len(ids)], expected[layer], setting.bound, what)
        # Counter-case: without the earlier intervention the later layer is another.
        assert_far(plain[2][place, : len(ids)], expected[2], 0.01, "not given anything")


@pytest.mark.parametrize("kind", ["jacobian", "difference", "linear"])
def test_a_steered_forward_adds_what_is_left(small_paired, kind):
    setting, ids, eta = small_paired, INPUTS[1], 0.2
    steering = methods(setting.loss)[kind].fit(setting.model, setting.examples)
    displacement = literal(setting, kind, ids, eta, range(len(ids)))
    with torch.no_grad():
        first = run(setting.model, ids)[0][0] + eta * displacement[0]
        second = run(setting.model, ids, {0: lambda _: first})[0][2] + eta * displacement[2]
        with steering.apply(setting.model, layer=list(STEERED), eta=eta, positions="prompt"):
            streams, _ = run(setting.model, ids)
    assert_close(streams[0], first, setting.bound, "layer 0 of a steered forward")
    assert_close(streams[2], second, setting.bound, "layer 2 of a steered forward")
