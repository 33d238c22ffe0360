"""ColdJVP over several steps: the path of real training, read linearly where it began."""

import pytest
import torch
from exact.cases import INPUTS, data_of, model_of
from exact.closeness import assert_close, assert_far

from coldlens.directions import ColdJVP, FineTune
from coldlens.errors import ArgumentError
from coldlens.losses import CrossEntropy
from coldlens.references import fine_tuned, jacobian_displacement, parameter_gradient
from coldlens.references.forward import named_parameters
from coldlens.steering.steering import Steering

IDS = INPUTS[1]
TOKENS = torch.tensor([IDS])


def norm(values):
    return torch.stack([value.detach().norm() for value in values.values()]).norm().item()


def rate(setting, share):
    """Returns the learning rate whose first step is a share of the norm of the parameters."""
    g = parameter_gradient(setting.model, setting.encoded, setting.loss)
    return share * norm(named_parameters(setting.model)) / norm(g)


def path_gradient(setting, steps, lr):
    """Returns (θ₀ − θ_k)/(k lr) from a copy of the model that was trained."""
    trained = named_parameters(fine_tuned(setting.model, setting.encoded, setting.loss, steps, lr))
    start = named_parameters(setting.model)
    return {name: (start[name] - trained[name]).detach() / (steps * lr) for name in start}


@pytest.mark.parametrize("steps", [2, 5])
def test_mean_gradient_of_real_training_read_at_the_start(small_paired, steps):
    setting = small_paired
    lr = rate(setting, 0.05)
    gradient = path_gradient(setting, steps, lr)
    once = ColdJVP(setting.loss).fit(setting.model, setting.examples).displacement(TOKENS)
    method = ColdJVP(setting.loss, steps=steps, lr=lr)
    found = method.fit(setting.model, setting.examples, batch_size=3).displacement(TOKENS)
    for layer in (0, setting.layers[-1]):
        last = [len(IDS) - 1]
        expected = jacobian_displacement(setting.model, IDS, layer, gradient, positions=last)
        assert_close(found[layer][0, last], expected, setting.bound, f"layer {layer}")
        # Counter-case: the path bends, so a single step is another direction.
        assert_far(once[layer][0, last], expected, 0.01, f"one step, layer {layer}")


@pytest.mark.parametrize("lr", [1e-3, 5])
def test_one_step_does_not_depend_on_the_learning_rate(small_paired, lr):
    setting = small_paired
    plain = ColdJVP(setting.loss).fit(setting.model, setting.examples).displacement(TOKENS)
    found = ColdJVP(setting.loss, steps=1, lr=lr).fit(setting.model, setting.examples)
    for layer, displacement in found.displacement(TOKENS).items():
        assert torch.equal(displacement, plain[layer])


def test_eta_of_steps_times_rate_is_the_real_change_to_first_order(small_paired):
    """The error of the linear reading, relative to the change, falls with the learning rate."""
    setting, steps = small_paired, 3
    layer = setting.layers[-1]
    errors = []
    for share in (1e-6, 1e-7):
        lr = rate(setting, share)
        linear = ColdJVP(setting.loss, steps, lr).fit(setting.model, setting.examples)
        real = FineTune(steps, lr, setting.loss).fit(setting.model, setting.examples)
        change = real.displacement(TOKENS)[layer]
        error = steps * lr * linear.displacement(TOKENS)[layer] - change
        errors.append((error.norm() / change.norm()).item())
    assert 8 < errors[0] / errors[1] < 12, errors


def test_closer_to_training_than_one_step():
    """On the bundled model with a rate at which training bends within a few steps."""
    model, examples = model_of("demo"), data_of("demo", "paired")
    steps, lr, layer = 6, 0.5, 2
    real = FineTune(steps, lr, CrossEntropy()).fit(model, examples)
    change = real.readings()[layer]
    cosines = [
        torch.cosine_similarity(method.fit(model, examples).readings()[layer], change, dim=-1)
        for method in (ColdJVP(CrossEntropy()), ColdJVP(CrossEntropy(), steps, lr))
    ]
    assert (cosines[1] > cosines[0]).all(), cosines


def test_saved_and_loaded(tmp_path):
    model, examples = model_of("llama"), data_of("llama", "paired")
    steering = ColdJVP(steps=3, lr=0.2).fit(model, examples)
    steering.save(tmp_path / "steering.safetensors")
    again = Steering.load(tmp_path / "steering.safetensors", model)
    assert again.provenance.method == "ColdJVP(steps=3, lr=0.2)"
    for layer, displacement in steering.displacement(TOKENS).items():
        assert torch.equal(again.displacement(TOKENS)[layer], displacement)


def test_a_pass_a_step():
    assert [ColdJVP(steps=steps).extra_passes for steps in (1, 2, 7)] == [0, 2, 7]


@pytest.mark.parametrize("setting", [{"steps": 0}, {"lr": 0}, {"lr": float("nan")}], ids=str)
def test_settings_out_of_range(setting):
    name = next(iter(setting))
    with pytest.raises(ArgumentError, match=rf"{name} >.* found {name} = "):
        ColdJVP(**setting)
