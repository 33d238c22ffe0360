"""Displacements of new inputs against Jacobians, copied models and real training."""

import pytest
import torch
from exact.cases import INPUTS
from exact.closeness import assert_close

from coldlens.directions import ColdFD, ColdJVP, ColdKernel, FineTune
from coldlens.examples.batch import pad
from coldlens.references import (
    fine_tuned,
    finite_difference,
    jacobian,
    jacobian_displacement,
    linear_kernel,
    parameter_change,
    parameter_gradient,
)


def displacements(method, setting, inputs=INPUTS):
    """Returns by layer one [pos, d_model] an input, computed in one padded batch."""
    steering = method.fit(setting.model, setting.examples, batch_size=3)
    tokens, mask = pad(inputs, side="left")
    found = steering.displacement(tokens, mask)
    return {
        layer: [row[keep] for row, keep in zip(found[layer], mask, strict=True)] for layer in found
    }


def test_cold_jvp_is_the_jacobian_times_the_gradient(paired):
    g = parameter_gradient(paired.model, paired.encoded, paired.loss)
    found = displacements(ColdJVP(paired.loss), paired)
    for layer in paired.layers:
        for place, ids in enumerate(INPUTS[1:], start=1):
            # Every token of the shorter input, the last one of the longer.
            positions = list(range(len(ids))) if place == 1 else [len(ids) - 1]
            if paired.model.cfg.d_model > 16:
                positions = positions[-1:]
            expected = jacobian_displacement(paired.model, ids, layer, g, positions=positions)
            what = f"ColdJVP at layer {layer}, input {place}"
            assert_close(found[layer][place][positions], expected, paired.bound, what)


def test_a_row_of_the_jacobian(paired):
    g = parameter_gradient(paired.model, paired.encoded, paired.loss)
    whole = jacobian(paired.model, INPUTS[1], 0, 1)
    product = sum(torch.tensordot(whole[name], g[name], g[name].ndim) for name in g)
    expected = jacobian_displacement(paired.model, INPUTS[1], 0, g, positions=[1])[0]
    assert_close(-product, expected, paired.bound, "J g")


@pytest.mark.parametrize("scheme", ["forward", "central"])
def test_cold_fd_is_the_difference_of_two_models(paired, scheme):
    g = parameter_gradient(paired.model, paired.encoded, paired.loss)
    # A large step: the formula is exact for any, and rounding counts least.
    epsilon = 0.1 * _norm(dict(paired.model.original_model.named_parameters())) / _norm(g)
    found = displacements(ColdFD(paired.loss, epsilon=epsilon, scheme=scheme), paired)
    for place, ids in enumerate(INPUTS):
        expected = finite_difference(paired.model, ids, g, epsilon, scheme)
        for layer in paired.layers:
            what = f"ColdFD at layer {layer}, input {place}"
            assert_close(found[layer][place], expected[layer], paired.bound, what)


@pytest.mark.parametrize("steps", [1, 3])
def test_fine_tune_is_sgd(paired, steps):
    g = parameter_gradient(paired.model, paired.encoded, paired.loss)
    lr = 0.05 * _norm(dict(paired.model.original_model.named_parameters())) / _norm(g)
    trained = fine_tuned(paired.model, paired.encoded, paired.loss, steps, lr)
    found = displacements(FineTune(steps, lr, paired.loss), paired)
    for place, ids in enumerate(INPUTS):
        expected = parameter_change(paired.model, trained, ids)
        for layer in paired.layers:
            what = f"FineTune at layer {layer}, input {place}"
            assert_close(found[layer][place], expected[layer], paired.bound, what)


@pytest.mark.parametrize("positions", ["last_prompt", "answer"])
def test_linear_kernel(paired, positions):
    method = ColdKernel(paired.loss, positions=positions, kernel="linear")
    found = displacements(method, paired)
    for layer in paired.layers:
        for place, ids in enumerate(INPUTS[1:2], start=1):
            expected = linear_kernel(
                paired.model, paired.encoded, paired.loss, layer, ids, positions=positions
            )
            what = f"linear kernel at layer {layer}, input {place}"
            assert_close(found[layer][place], expected, paired.bound, what)


def test_vector_is_the_mean_over_the_fit_prompts_at_their_last_token(paired):
    g = parameter_gradient(paired.model, paired.encoded, paired.loss)
    steering = ColdJVP(paired.loss).fit(paired.model, paired.examples)
    layer = paired.layers[1]
    rows = [
        jacobian_displacement(
            paired.model, example.prompt, layer, g, positions=[len(example.prompt) - 1]
        )
        for example in paired.encoded
    ]
    assert_close(steering.vector(layer), torch.cat(rows).mean(0), paired.bound, "vector")


def _norm(values):
    return torch.stack([value.detach().norm() for value in values.values()]).norm().item()
