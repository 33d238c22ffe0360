"""Single and half precision."""

from dataclasses import replace

import pytest
import torch
import zoo
from exact.cases import INPUTS, LOSSES, data_of, layers_of, model_of
from exact.closeness import assert_close, assert_far
from exact.tolerances import (
    CENTRAL,
    FORWARD,
    NEAR_BEST,
    SINGLE,
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
def test_single_precision(architecture, method):
    vectors = {}
    for dtype in (torch.float32, torch.float64):
        model = model_of(architecture, dtype, std=TRAINED_LIKE)
        examples = data_of(architecture, "paired")
        steering = method.fit(model, examples)
        vectors[dtype] = torch.stack([steering.vector(layer) for layer in steering.layers])
        assert vectors[dtype].dtype == dtype
    for layer, (found, expected) in enumerate(zip(*vectors.values(), strict=True)):
        assert_close(found, expected, SINGLE, f"float32 at layer {layer}")


@pytest.mark.parametrize("loss", ["dpo", "cross_entropy"])
@pytest.mark.parametrize("scheme", ["forward", "central"])
def test_automatic_step(architecture, scheme, loss):
    model = model_of(architecture, torch.float32, std=TRAINED_LIKE)
    examples, chosen = data_of(architecture, "paired"), LOSSES[loss]
    difference = ColdFD(chosen, scheme=scheme).fit(model, examples)
    exact = ColdJVP(chosen).fit(model, examples)
    bound = FORWARD if scheme == "forward" else CENTRAL
    tokens, mask = pad(exact.prompts)
    found, expected = (steering.displacement(tokens, mask) for steering in (difference, exact))
    for layer in layers_of(model):
        what = f"ColdFD {scheme} with {loss} at layer {layer}"
        assert_close(difference.vector(layer), exact.vector(layer), bound, f"{what}, last token")
        assert_close(found[layer], expected[layer], bound, f"{what}, all tokens")


def errors_of_single_steps(model, examples, scheme):
    """Returns the worst layer's error of float32 differences at powers of two times the step."""
    exact = ColdJVP(DPO).fit(model, examples)
    expected = exact.displacement(*pad(exact.prompts))
    start = ColdFD(DPO, scheme=scheme).fit(model, examples)
    center = start.step
    if start.double:  # the step of float64; √u or u^⅓ of the other dtype is as good a start
        center *= 2.0 ** (29 / 2 if scheme == "forward" else 29 / 3)
    errors = {}
    for power in range(-4, 5):
        step = center * 2.0**power
        steering = replace(start, step=step, scale=-1 / step, double=False)
        found = steering.displacement(*pad(exact.prompts))
        gaps = [(found[layer] - true).norm() / true.norm() for layer, true in expected.items()]
        errors[power] = max(gap.item() for gap in gaps)
    return start, errors


@pytest.mark.parametrize("name", ["llama", "mistral", "gpt2", "neox", "phi3"])
@pytest.mark.parametrize("scheme", ["forward", "central"])
def test_automatic_step_is_near_the_best_one(scheme, name):
    model = model_of(name, torch.float32, std=TRAINED_LIKE)
    start, errors = errors_of_single_steps(model, data_of(name, "paired"), scheme)
    assert not start.double
    assert errors[0] <= NEAR_BEST * min(errors.values())


@pytest.mark.parametrize("behaviour", ["refusal", "myopic-reward"])
@pytest.mark.parametrize("scheme", ["forward", "central"])
def test_float64_is_used_where_no_float32_step_resolves_the_difference(scheme, behaviour):
    model = model_of("demo", torch.float32)
    start, errors = errors_of_single_steps(model, load_examples(f"demo/{behaviour}", n=20), scheme)
    assert start.double
    best = min(errors, key=errors.__getitem__)
    assert -4 < best < 4, "the grid must reach beyond the best step on both sides"
    assert errors[best] > (FORWARD if scheme == "forward" else CENTRAL)


@pytest.mark.parametrize("name", zoo.CONFIGS)
def test_half_precision_is_computed_in_single(name):
    half = zoo.bridge(name, dtype=torch.bfloat16, std=TRAINED_LIKE)
    single, double = (
        zoo.bridge(name, dtype=dtype, rounded_to=torch.bfloat16, std=TRAINED_LIKE)
        for dtype in (torch.float32, torch.float64)
    )
    examples = data_of(name, "paired")
    exact = ColdJVP(DPO).fit(half, examples)
    difference = ColdFD(DPO, scheme="central").fit(half, examples)
    g = exact.direction
    accurate = {key: value.double() for key, value in g.items()}
    tokens, (ids, *_) = torch.tensor([INPUTS[0]]), INPUTS
    by_difference, by_tangent = difference.displacement(tokens), exact.displacement(tokens)
    expected = finite_difference(double, ids, accurate, difference.step, "central")
    for layer in layers_of(half):
        assert by_tangent[layer].dtype == by_difference[layer].dtype == torch.float32
        tangent = jacobian_displacement(single, ids, layer, g, positions=[len(ids) - 1])
        assert tangent.norm() > 0
        what = f"bfloat16 weights at layer {layer}"
        assert_close(by_tangent[layer][0, -1:], tangent, SINGLE, f"ColdJVP, {what}")
        assert_close(by_difference[layer][0], expected[layer], CENTRAL, f"ColdFD, {what}")
        # Counter-case: the same difference of two bfloat16 models is rounding noise or nothing.
        coarse = finite_difference(half, ids, g, difference.step, "central")[layer]
        assert_far(coarse, expected[layer], 0.05, "bfloat16 difference")


@pytest.mark.parametrize("name", zoo.CONFIGS)
def test_half_precision_gradient_is_computed_in_single(name):
    half = zoo.bridge(name, dtype=torch.bfloat16, std=TRAINED_LIKE)
    single = zoo.bridge(name, rounded_to=torch.bfloat16, std=TRAINED_LIKE)
    examples = data_of(name, "paired")
    found = ColdJVP(DPO).fit(half, examples).direction
    expected = parameter_gradient(single, encode(single, examples), DPO)
    flat = [torch.cat([g[name].flatten() for name in found]) for g in (found, expected)]
    assert_close(flat[0], flat[1], SINGLE, "g")
