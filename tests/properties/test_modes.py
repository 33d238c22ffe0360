"""Results do not depend on the caller's gradient mode, flags or open steering blocks."""

from contextlib import nullcontext

import pytest
import torch
import zoo
from torch import Tensor

from coldlens.directions import ColdFD, ColdJVP, DiffMean, FineTune
from coldlens.losses import CrossEntropy

PROMPTS = ["red blue green", "the user asks you"]
IDS = torch.tensor([[1, 30, 31, 32]])


def _everything(model, examples, method) -> dict[str, Tensor]:
    steering = method.fit(model, examples)
    found = {f"field {key}": value for key, value in steering.displacement(PROMPTS).items()}
    found["vector"] = steering.vector(2)
    with steering.apply(model, layer=[0, 2], eta=0.5):
        found["logits"] = model(IDS).detach()
    return found


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode], ids=lambda m: m.__name__)
def test_gradient_modes(llama, examples, method, mode):
    expected = _everything(llama, examples, method)
    with mode():
        found = _everything(llama, examples, method)
        assert torch.is_inference_mode_enabled() == (mode is torch.inference_mode)
        assert not torch.is_grad_enabled()
    for name, values in expected.items():
        assert torch.equal(found[name], values), name


def test_parameters_without_requires_grad(examples, method):
    expected = _everything(zoo.bridge("llama"), examples, method)
    frozen = zoo.bridge("llama")
    for parameter in frozen.original_model.parameters():
        parameter.requires_grad_(False)
    found = _everything(frozen, examples, method)
    for name, values in expected.items():
        assert torch.equal(found[name], values), name


@pytest.mark.parametrize("inner", [DiffMean(), ColdFD(), ColdJVP(), FineTune(steps=2)], ids=repr)
def test_an_open_steering_does_not_act_on_measurements(llama, examples, inner):
    expected = inner.fit(llama, examples).displacement(PROMPTS)
    outer = DiffMean().fit(llama, examples)
    with outer.apply(llama, layer=0, eta=5.0):
        steered = llama(IDS)
        found = inner.fit(llama, examples).displacement(PROMPTS)
    assert not torch.allclose(steered, llama(IDS), rtol=0.1)
    for layer, values in expected.items():
        assert torch.equal(found[layer], values)


@pytest.mark.parametrize("inference", [False, True], ids=["plain", "inference_mode"])
def test_a_steering_fitted_in_inference_mode_can_be_used_outside(llama, examples, inference):
    context = torch.inference_mode() if inference else nullcontext()
    with context:
        steering = DiffMean().fit(llama, examples)
    scale = torch.ones((), requires_grad=True)
    (scale * steering.vector(1)).sum().backward()
    assert scale.grad is not None


def test_gradients_flow_through_a_steered_forward(llama, examples):
    """Steering adds a constant: the caller can still differentiate the steered model."""
    steering = ColdJVP().fit(llama, examples)
    weight = llama.original_model.get_output_embeddings().weight
    with steering.apply(llama, layer=1):
        loss = llama(IDS).square().mean()
    (gradient,) = torch.autograd.grad(loss, [weight])
    assert gradient.any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_results_are_float32_or_better(examples, method, dtype):
    model = zoo.bridge("llama", dtype=dtype)
    steering = method.fit(model, examples)
    found = steering.displacement(PROMPTS)
    wanted = torch.promote_types(dtype, torch.float32)
    assert {values.dtype for values in found.values()} == {wanted}
    assert steering.vector(0).dtype == wanted
    assert all(values.any() for values in found.values())


@pytest.mark.parametrize("scheme", ["forward", "central"])
@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2", "neox"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_automatic_step_suits_the_dtype(examples, architecture, dtype, scheme):
    model = zoo.bridge(architecture, dtype=dtype)
    loss, short = CrossEntropy(), examples[2:3]  # padding under a float64 sliding window is nan
    exact = ColdJVP(loss).fit(model, short).displacement(PROMPTS)
    found = ColdFD(loss, scheme=scheme).fit(model, short).displacement(PROMPTS)
    for layer, values in exact.items():
        error = (found[layer] - values).norm() / values.norm()
        bounds = {"forward": 1e-6, "central": 1e-8}
        if dtype != torch.float64:
            bounds = {"forward": 3e-3, "central": 3e-4}
        assert error < bounds[scheme]


@pytest.mark.parametrize("method", [ColdFD(epsilon=0.05), ColdJVP()], ids=lambda one: one.label)
def test_autocast_does_not_get_into_a_displacement(llama, examples, method):
    steering, ids = method.fit(llama, examples), torch.tensor([[1, 7, 8, 9, 5]])
    expected, read = steering.displacement(ids)[1], []
    handle = llama.hook_dict["blocks.2.hook_resid_pre"].register_forward_hook(
        lambda _point, _inputs, output: read.append(output)
    )
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(steering.displacement(ids)[1], expected)
        torch.testing.assert_close(method.fit(llama, examples).displacement(ids)[1], expected)
        llama(ids)
        with steering.apply(llama, layer=1, eta=1e3):
            llama(ids)
    handle.remove()
    torch.testing.assert_close(read[-1] - read[0], 1e3 * expected, rtol=0.05, atol=0.05)
