"""A float64 model computes in float64, also where Hugging Face casts to float32."""

import pytest
import torch
import zoo

from coldlens.models.forward import residuals
from coldlens.models.precision import full_precision

TOKENS = torch.tensor([[1, 6, 7, 8, 9, 10, 11]])
ISLANDS = ["llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "phi3"]


def nudged(model, run):
    """Returns how much the output moves when one weight moves by 1e-12, relative to 1e-12."""
    weight = next(model.original_model.parameters())
    before = run()
    with torch.no_grad():
        weight[1, 0] += 1e-12
        after = run()
        weight[1, 0] -= 1e-12
    return (after - before).norm() / 1e-12


def last(model):
    return residuals(model, TOKENS, torch.ones_like(TOKENS).bool(), [len(model.blocks) - 1])[0]


@pytest.mark.parametrize("name", ISLANDS)
def test_residuals_resolve_a_tiny_change_of_a_float64_weight(name):
    model = zoo.bridge(name, dtype=torch.float64)
    layer = len(model.blocks) - 1
    sensitivity = nudged(model, lambda: last(model)[layer])
    step = 1e-5
    weight = next(model.original_model.parameters())
    with torch.no_grad():
        before = last(model)[layer]
        weight[1, 0] += step
        expected = (last(model)[layer] - before).norm() / step
        weight[1, 0] -= step
    assert abs(sensitivity / expected - 1) < 0.01
    # Counter-case: the model's own forward rounds to float32 inside and cannot.
    coarse = nudged(model, lambda: model(TOKENS, return_type="logits"))
    with full_precision(model):
        fine = nudged(model, lambda: model(TOKENS, return_type="logits"))
    assert abs(coarse / fine - 1) > 0.05


def test_other_dtypes_are_left_alone():
    model = zoo.bridge("llama")
    with full_precision(model):
        assert torch.zeros(2, dtype=torch.float64).float().dtype == torch.float32
