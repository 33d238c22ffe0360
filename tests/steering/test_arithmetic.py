"""Static steerings add, scale and normalise; what cannot be combined says so."""

import pytest
import torch
import zoo

from coldlens.directions import ColdJVP, DiffMean, Probe
from coldlens.errors import ArgumentError, SteeringError
from coldlens.steering.static import StaticSteering


def test_arithmetic_acts_on_the_vectors(llama, examples):
    a, b = DiffMean().fit(llama, examples), Probe().fit(llama, examples)
    torch.testing.assert_close((2 * a - b).vectors, 2 * a.vectors - b.vectors)
    torch.testing.assert_close((a + b * 0.5).vectors, a.vectors + 0.5 * b.vectors)
    assert torch.equal((-a).vectors, -a.vectors)
    torch.testing.assert_close((a / 2).vectors, a.vectors / 2)
    combined = 2 * a - b
    assert combined.layers == a.layers
    assert combined.provenance.method == "(2 * (DiffMean)) - (Probe)"
    assert combined.coherence.isnan().all()


def test_operands_stay_as_they_are(llama, examples):
    a, b = DiffMean().fit(llama, examples), Probe().fit(llama, examples)
    before = a.vectors.clone(), b.vectors.clone()
    (2 * a - b).normalized()
    assert torch.equal(a.vectors, before[0])
    assert torch.equal(b.vectors, before[1])
    assert a.provenance.method == "DiffMean"


def test_normalized_has_norm_one_and_the_same_direction(llama, examples):
    steering = DiffMean().fit(llama, examples)
    unit = steering.normalized()
    torch.testing.assert_close(unit.vectors.norm(dim=1), torch.ones(3))
    cosine = torch.cosine_similarity(unit.vectors, steering.vectors)
    torch.testing.assert_close(cosine, torch.ones(3))


def test_a_zero_vector_cannot_be_normalized(llama, examples):
    steering = DiffMean().fit(llama, examples)
    with pytest.raises(SteeringError, match=r"found a zero vector at layer 0. Check that"):
        (steering - steering).normalized()


def test_other_layers_or_weights_do_not_add(llama, examples):
    steering = DiffMean().fit(llama, examples)
    with pytest.raises(SteeringError, match=r"layers \[0, 1, 2\]; found .* layers \[1\]"):
        steering + DiffMean().fit(llama, examples, layers=1)
    other = DiffMean().fit(zoo.bridge("llama", seed=1), examples)
    with pytest.raises(SteeringError, match="Fit both on one model"):
        steering - other


def test_an_input_dependent_steering_does_not_add(llama, examples):
    static, dependent = DiffMean().fit(llama, examples), ColdJVP().fit(llama, examples)
    add = StaticSteering.__add__.__wrapped__  # without the type checker of the tests
    with pytest.raises(SteeringError, match=r"another static steering; found TangentSteering. Onl"):
        add(static, dependent)
    assert dependent.input_dependent
    assert not static.input_dependent


@pytest.mark.parametrize("layer", [3, -4, 7])
def test_a_layer_that_was_not_fitted(llama, examples, layer):
    steering = DiffMean().fit(llama, examples)
    with pytest.raises(ArgumentError, match=rf"one of \[0, 1, 2\]; found layer {layer}"):
        steering.vector(layer)
    assert torch.equal(steering.vector(-1), steering.vector(2))
