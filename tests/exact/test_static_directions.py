"""Static directions against their formulas."""

import pytest
import torch
from exact.closeness import assert_close, relative_error
from exact.tolerances import PROBE

from coldlens.directions import ICV, ColdKernel, DiffMean, Probe, RepE
from coldlens.references import (
    answer_mean,
    diff_mean,
    identity_kernel,
    joint_principal_direction,
    logistic_gradient,
    logistic_weights,
    unit_scale,
)


def vectors(method, setting, **kwargs):
    steering = method.fit(setting.model, setting.examples, batch_size=3, **kwargs)
    return torch.stack([steering.vector(layer) for layer in steering.layers])


def test_diff_mean(paired):
    expected = [diff_mean(paired.model, paired.encoded, layer) for layer in paired.layers]
    assert_close(vectors(DiffMean(), paired), torch.stack(expected), paired.bound, "DiffMean")


@pytest.mark.parametrize("center", [True, False])
def test_rep_e(paired, center):
    expected = [
        joint_principal_direction(paired.model, paired.encoded, [layer], center=center)[0]
        for layer in paired.layers
    ]
    found = vectors(RepE(center=center), paired)
    assert_close(found, torch.stack(expected), paired.bound, "RepE")


@pytest.mark.parametrize("center", [True, False])
def test_icv(paired, center):
    layers = paired.layers[1:]
    expected = joint_principal_direction(paired.model, paired.encoded, layers, center=center)
    found = vectors(ICV(center=center), paired, layers=layers)
    assert_close(found, expected, paired.bound, "ICV")


@pytest.mark.parametrize("positions", ["last_prompt", "prompt", "answer", "all"])
def test_cold_kernel(paired, positions):
    method = ColdKernel(loss=paired.loss, positions=positions)
    expected = [
        identity_kernel(paired.model, paired.encoded, paired.loss, layer, positions)
        for layer in paired.layers
    ]
    assert_close(vectors(method, paired), torch.stack(expected), paired.bound, "ColdKernel")


@pytest.mark.parametrize("C", [0.1, 1.0, 10.0])
def test_probe_is_optimal(paired, C):
    found = vectors(Probe(C=C), paired)
    for layer, vector in zip(paired.layers, found, strict=True):
        means = [
            answer_mean(paired.model, example, side, layer)
            for side in ("positive", "negative")
            for example in paired.encoded
        ]
        labels = torch.arange(len(means)) < len(paired.encoded)
        features, scale = unit_scale(torch.stack(means).double())
        weights, optimum = vector.double() * scale, logistic_weights(features, labels, C)
        gradient = logistic_gradient(features, labels, weights, C)
        start = logistic_gradient(features, labels, torch.zeros_like(weights), C)
        assert gradient.norm() <= PROBE * start.norm()
        assert relative_error(weights, optimum) <= gradient.norm() / optimum.norm() + 1e-9
        assert_close(weights, optimum, PROBE, f"Probe at layer {layer}")
