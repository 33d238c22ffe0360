"""Activation gradients token by token and matrix-free products, against one row at a time."""

import pytest
import torch
import zoo
from exact.cases import INPUTS, LOSSES, data_of, model_of
from exact.closeness import assert_close

from coldlens.capture.token_gradients import token_gradients
from coldlens.errors import NumericsError
from coldlens.examples.batch import pad
from coldlens.examples.tokens import encode
from coldlens.kernels.products import pullback, pushforward
from coldlens.models.parameters import parameters
from coldlens.references import activation_gradients, jacobian

ARCHITECTURES = ("llama", "gpt2", "gemma2", "qwen3")
EXACT = 1e-11
LAYERS = (0, 1, 2)


@pytest.fixture(params=ARCHITECTURES)
def model(request):
    return model_of(request.param)


@pytest.mark.parametrize("loss", LOSSES)
def test_token_gradients_are_those_of_plain_backward_passes(model, loss):
    for example in encode(model, data_of("llama", "paired"))[:2]:
        found = token_gradients(model, example, LOSSES[loss], LAYERS)
        expected = activation_gradients(model, example, LOSSES[loss], LAYERS)
        for layer in LAYERS:
            assert found.gradients.keys() == expected[layer].keys()
            for side, gradient in expected[layer].items():
                what = f"gradient at layer {layer}, {side}"
                assert found.tokens[side] == example.sequence(side)
                assert_close(found.gradients[side][layer], gradient, EXACT, what)
            last = sum(g[len(example.prompt) - 1] for g in expected[layer].values())
            assert_close(found.at_last_prompt(layer), last, EXACT, "last prompt token")


def test_a_plain_function_reads_the_sides_it_is_given(model):
    example = encode(model, data_of("llama", "paired"))[0]

    def loss(logits, batch):
        return logits.square().mean((1, 2)).unflatten(0, (len(batch.sides), -1)).sum(0)

    assert set(token_gradients(model, example, loss, [0]).tokens) == {"positive", "negative"}
    alone = token_gradients(model, example, loss, [0], sides=("positive",))
    assert set(alone.tokens) == {"positive"}


def test_gradients_of_a_half_precision_model_are_those_of_its_float32_copy():
    example = encode(model_of("llama"), data_of("llama", "paired"))[0]
    half = zoo.bridge("llama", dtype=torch.bfloat16)
    copy = zoo.bridge("llama", dtype=torch.float32, rounded_to=torch.bfloat16)
    found, expected = (
        token_gradients(one, example, LOSSES["dpo"], [1]).gradients["positive"][1]
        for one in (half, copy)
    )
    assert found.dtype == torch.float32
    assert_close(found, expected, 1e-5)


def test_a_gradient_that_is_not_finite_is_an_error():
    example = encode(model_of("llama"), data_of("llama", "paired"))[0]
    with pytest.raises(NumericsError, match=r"finite activation gradients of .*broken"):
        token_gradients(model_of("llama"), example, broken, [0])


def broken(logits, batch):
    return (logits.sum((1, 2)) * float("inf")).unflatten(0, (len(batch.sides), -1)).sum(0)


@pytest.mark.parametrize("layer", [0, 2])
def test_products_are_those_with_the_whole_jacobian(model, layer):
    inputs = INPUTS[1:]
    tokens, mask = pad(inputs, side="left")
    cotangents = torch.randn(*tokens.shape, 16, dtype=torch.float64)
    cotangents[~mask] = float("nan")
    direction = {
        name: torch.randn_like(parameter.tensor) for name, parameter in parameters(model).items()
    }
    found = pullback(model, layer, tokens, mask, cotangents)
    moved = pushforward(model, direction, tokens, mask, (layer,))[layer]

    expected = {name: torch.zeros_like(value) for name, value in direction.items()}
    for row, ids in enumerate(inputs):
        start = tokens.shape[1] - len(ids)
        for position in range(len(ids)):
            whole = jacobian(model, ids, layer, position)
            product = torch.zeros(16, dtype=torch.float64)
            for name, rows in whole.items():
                cotangent = cotangents[row, start + position]
                expected[name] += torch.tensordot(cotangent, rows, 1)
                product += torch.tensordot(rows, direction[name], direction[name].ndim)
            assert_close(moved[row, start + position], product, EXACT, f"J v at token {position}")
    zero = {name: torch.zeros_like(value) for name, value in expected.items()}
    assert_close(flat({**zero, **found}), flat(expected), EXACT, "J^T u")


def flat(values):
    return torch.cat([value.flatten() for value in values.values()])


def test_products_leave_the_model_as_it_was(model):
    before = {name: p.detach().clone() for name, p in model.original_model.named_parameters()}
    tokens, mask = pad(INPUTS)
    with torch.inference_mode():
        cotangents = torch.ones(*tokens.shape, 16, dtype=torch.float64)
        found = pullback(model, 1, tokens, mask, cotangents)
        pushforward(model, found, tokens, mask, (0, 1))
    for name, parameter in model.original_model.named_parameters():
        assert parameter.grad is None
        assert parameter.requires_grad
        assert torch.equal(parameter, before[name])


def test_the_two_products_are_transposes(model):
    tokens, mask = pad(INPUTS)
    u = torch.randn(*tokens.shape, 16, dtype=torch.float64) * mask.unsqueeze(-1)
    back = pullback(model, 2, tokens, mask, u)
    v = {name: torch.randn_like(value) for name, value in back.items()}
    forward = (pushforward(model, v, tokens, mask, (2,))[2] * u).sum()
    assert_close(forward, sum((back[name] * v[name]).sum() for name in v), EXACT)
