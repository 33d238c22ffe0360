"""Single and half precision, and the float32 islands of float64 models."""

from dataclasses import replace

import pytest
import torch
import zoo
from exact.cases import INPUTS, LOSSES, data_of, layers_of, model_of
from exact.closeness import assert_close, assert_far
from exact.tolerances import (
    CENTRAL,
    CENTRAL_GEMMA,
    FORWARD,
    ISLANDS,
    NEAR_BEST,
    SINGLE,
    TRAINED_CENTRAL,
    TRAINED_FORWARD,
)

from coldlens.datasets import load_examples
from coldlens.directions import ColdFD, ColdJVP, ColdKernel, DiffMean
from coldlens.examples.batch import pad
from coldlens.examples.tokens import encode
from coldlens.references import (
    finite_difference,
    jacobian_displacement,
    parameter_gradient,
)

DPO = LOSSES["dpo"]

TRAINED_LIKE = 0.12
"""Standard deviation of weights at which a model of width 16 is about as nonlinear as a trained
one: matrices have spectral norm near 2·0.12·√16 ≈ 1, where at 0.3 each would stretch by 2.4 and
three blocks of them make the residual stream a far more curved function of θ than in practice."""


@pytest.mark.parametrize("method", [DiffMean(), ColdKernel(DPO), ColdJVP(DPO)], ids=repr)
def test_single_precision(architecture, islands, method):
    vectors = {}
    for dtype in (torch.float32, torch.float64):
        model = model_of(architecture, dtype, std=TRAINED_LIKE)
        examples = data_of(architecture, "paired")
        steering = method.fit(model, examples)
        vectors[dtype] = torch.stack([steering.vector(layer) for layer in steering.layers])
        assert vectors[dtype].dtype == dtype
    for layer, (found, expected) in enumerate(zip(*vectors.values(), strict=True)):
        assert_close(found, expected, SINGLE, f"float32 at layer {layer}")


def test_float64_with_islands(architecture, islands):
    model, examples = model_of(architecture), data_of(architecture, "paired")
    g = parameter_gradient(model, encode(model, examples), DPO)
    steering, ids = ColdJVP(DPO).fit(model, examples), INPUTS[1]
    found = steering.displacement(torch.tensor([ids]))
    for layer in layers_of(model):
        expected = jacobian_displacement(model, ids, layer, g, positions=[len(ids) - 1])
        assert_close(found[layer][0, -1:], expected, ISLANDS, f"ColdJVP at layer {layer}")


@pytest.mark.parametrize("loss", ["dpo", "cross_entropy"])
@pytest.mark.parametrize("scheme", ["forward", "central"])
def test_automatic_epsilon(architecture, islands, scheme, loss):
    model = model_of(architecture, torch.float32, std=TRAINED_LIKE)
    examples, chosen = data_of(architecture, "paired"), LOSSES[loss]
    difference = ColdFD(chosen, scheme=scheme).fit(model, examples)
    exact = ColdJVP(chosen).fit(model, examples)
    bound = FORWARD if scheme == "forward" else CENTRAL
    if architecture == "demo":
        bound = TRAINED_FORWARD if scheme == "forward" else TRAINED_CENTRAL
    elif scheme == "central" and architecture.startswith("gemma"):
        bound = CENTRAL_GEMMA
    tokens, mask = pad(exact.prompts)
    found, expected = (steering.displacement(tokens, mask) for steering in (difference, exact))
    for layer in layers_of(model):
        what = f"ColdFD {scheme} with {loss} at layer {layer}"
        assert_close(difference.vector(layer), exact.vector(layer), bound, f"{what}, last token")
        assert_close(found[layer], expected[layer], bound, f"{what}, all tokens")


@pytest.mark.parametrize("behaviour", ["refusal", "coordinate-other-ais", "myopic-reward"])
@pytest.mark.parametrize("scheme", ["forward", "central"])
def test_automatic_epsilon_is_near_the_best_step(islands, scheme, behaviour):
    model = model_of("demo", torch.float32)
    examples = load_examples(f"demo/{behaviour}", n=20)
    exact = ColdJVP(DPO).fit(model, examples)
    expected = exact.displacement(*pad(exact.prompts))
    start = ColdFD(DPO, scheme=scheme).fit(model, examples)

    def worst(power):
        step = start.step * 2.0**power
        steering = replace(start, step=step, scale=-1 / step)
        found = steering.displacement(*pad(exact.prompts))
        gaps = [(found[layer] - true).norm() / true.norm() for layer, true in expected.items()]
        return max(gap.item() for gap in gaps)

    assert worst(0) <= NEAR_BEST * min(worst(power) for power in range(-3, 4))


@pytest.mark.parametrize("name", zoo.CONFIGS)
def test_half_precision_is_computed_in_single(name, islands):
    half = zoo.bridge(name, dtype=torch.bfloat16, std=TRAINED_LIKE)
    single = zoo.bridge(name, rounded_to=torch.bfloat16, std=TRAINED_LIKE)
    examples = data_of(name, "paired")
    exact = ColdJVP(DPO).fit(half, examples)
    difference = ColdFD(DPO, scheme="central").fit(half, examples)
    g = exact.direction
    tokens, (ids, *_) = torch.tensor([INPUTS[0]]), INPUTS
    by_difference, by_tangent = difference.displacement(tokens), exact.displacement(tokens)
    expected = finite_difference(single, ids, g, difference.step, "central")
    for layer in layers_of(half):
        assert by_tangent[layer].dtype == by_difference[layer].dtype == torch.float32
        tangent = jacobian_displacement(single, ids, layer, g, positions=[len(ids) - 1])
        assert tangent.norm() > 0
        what = f"bfloat16 weights at layer {layer}"
        assert_close(by_tangent[layer][0, -1:], tangent, SINGLE, f"ColdJVP, {what}")
        assert_close(by_difference[layer][0], expected[layer], CENTRAL_GEMMA, f"ColdFD, {what}")
        # Counter-case: the same difference of two bfloat16 models is rounding noise or nothing.
        coarse = finite_difference(half, ids, g, difference.step, "central")[layer]
        assert_far(coarse, expected[layer], 0.05, "bfloat16 difference")


@pytest.mark.parametrize("name", zoo.CONFIGS)
def test_half_precision_gradient_is_computed_in_single(name, islands):
    half = zoo.bridge(name, dtype=torch.bfloat16, std=TRAINED_LIKE)
    single = zoo.bridge(name, rounded_to=torch.bfloat16, std=TRAINED_LIKE)
    examples = data_of(name, "paired")
    found = ColdJVP(DPO).fit(half, examples).direction
    expected = parameter_gradient(single, encode(single, examples), DPO)
    flat = [torch.cat([g[name].flatten() for name in found]) for g in (found, expected)]
    assert_close(flat[0], flat[1], SINGLE, "g")
