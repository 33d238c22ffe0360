"""Every trained intervention against a literal loop over the same batches."""

from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import pytest
import torch
from exact.cases import data_of, layers_of, model_of
from exact.closeness import assert_close, assert_far, relative_error

from coldlens.directions import BiPO, ColdKernel, ReFTMLP, ReFTVector
from coldlens.examples.tokens import encode
from coldlens.losses import DPO, CrossEntropy
from coldlens.references.training import bipo_vector, reft_mlp, reft_vector

ARCHITECTURES = ("llama", "gpt2", "gemma2", "demo")
BOUNDS = {torch.float64: 1e-10, torch.float32: 1e-5}
STD = 0.12
"""About as nonlinear as a trained model, so that float32 is good to 1e-5 at all."""


@pytest.fixture(params=ARCHITECTURES)
def name(request):
    return request.param


@pytest.fixture(params=BOUNDS, ids=str)
def setting(request, name):
    model, examples = model_of(name, request.param, std=STD), data_of(name, "paired")
    return model, examples, encode(model, examples), BOUNDS[request.param]


def inner_layers(model):
    """All but the last: there the gradient of DPO is rounding noise, to which Adam gives size."""
    return layers_of(model)[:-1]


def order_of(count, generator, method):
    """The batches of all epochs, and the sign of each, as they follow from the seed."""
    places = torch.randperm(count, generator=generator).tolist()
    batches, signs = [], []
    for _ in range(method.epochs):
        epoch = [places[i] for i in torch.randperm(count, generator=generator).tolist()]
        for start in range(0, count, method.batch_size):
            batches.append(epoch[start : start + method.batch_size])
            if isinstance(method, BiPO):
                signs.append((1.0, -1.0)[int(torch.randint(2, (1,), generator=generator))])
    return batches, signs


@pytest.mark.parametrize(
    ("loss", "positions"), [(DPO(beta=0.7), "all"), (CrossEntropy(), "prompt")], ids=["dpo", "ce"]
)
def test_vector(setting, loss, positions):
    model, examples, encoded, bound = setting
    method = ReFTVector(loss, lr=0.02, epochs=2, batch_size=2, positions=positions, seed=5)
    steering = method.fit(model, examples)
    batches, _ = order_of(len(encoded), torch.Generator().manual_seed(5), method)
    for layer in inner_layers(model):
        expected = reft_vector(model, encoded, loss, layer, batches, lr=0.02, positions=positions)
        assert_close(steering.vector(layer), expected, bound, f"ReFT vector at layer {layer}")
        other = reft_vector(model, encoded, loss, layer, batches[::-1], lr=0.02)
        assert_far(steering.vector(layer), other, 100 * bound, "another order of the batches")


def literal_network(name, dtype, layer, *, backwards=False):
    """Trains a network at a layer literally, from the weights that follow from the seed."""
    model, examples = model_of(name, dtype, std=STD), data_of(name, "paired")
    encoded, width = encode(model, examples), model.cfg.d_model
    generator = torch.Generator().manual_seed(NETWORK.seed)
    start = {
        "hidden": 2 * torch.rand(5, width, generator=generator, dtype=torch.float64) - 1,
        "hidden_bias": 2 * torch.rand(5, generator=generator, dtype=torch.float64) - 1,
        "output": torch.zeros(width, 5),
        "output_bias": torch.zeros(width),
    }
    start = {key: (value / width**0.5).to(dtype) for key, value in start.items()}
    batches, _ = order_of(len(encoded), generator, NETWORK)
    batches = batches[::-1] if backwards else batches
    trained = reft_mlp(model, encoded, NETWORK.loss, layer, batches, start, lr=NETWORK.lr)
    assert all(relative_error(value, start[key]) > 1e-3 for key, value in trained.items())
    return trained


NETWORK = ReFTMLP(DPO(beta=0.7), hidden=5, lr=0.02, epochs=2, batch_size=2, seed=3)


@contextmanager
def rounded_otherwise(model, layer, seed):
    """Moves each entry of Z_l by one unit in the last place, up or down."""
    generator = torch.Generator().manual_seed(seed)

    def moved(_module, _inputs, residual):
        signs = 2 * torch.randint(2, residual.shape, generator=generator) - 1
        return torch.nextafter(residual, residual + signs)

    point = model.hook_dict[f"blocks.{layer}.hook_resid_post"]
    handle = point.register_forward_hook(moved)
    try:
        yield
    finally:
        handle.remove()


@cache
def rounding(name, layer):
    """How far the literal float32 loop moves, by weight, when Z_l is rounded otherwise."""
    model = model_of(name, torch.float32, std=STD)
    plain, moves = literal_network(name, torch.float32, layer), []
    for seed in range(4):
        with rounded_otherwise(model, layer, seed):
            found = literal_network(name, torch.float32, layer)
        moves.append({key: relative_error(found[key], value) for key, value in plain.items()})
    return {key: max(move[key] for move in moves) for key in plain}


def test_mlp(setting, name):
    """In float32 to the bound, or to twice what one unit in the last place of Z_l does.

    Adam divides the gradient of each entry by its own size. Where an entry's gradient is little
    more than rounding, its relative error stays in the weights, whichever loop computes it. Each
    of the two loops is then that far from the exact result.
    """
    model, examples, _, bound = setting
    dtype = next(model.original_model.parameters()).dtype
    steering = NETWORK.fit(model, examples)
    for place, layer in enumerate(inner_layers(model)):
        expected = literal_network(name, dtype, layer)
        other = literal_network(name, dtype, layer, backwards=True)
        for key, value in expected.items():
            found, allowed = steering.weights[key][place], bound
            if dtype == torch.float32 and relative_error(found, value) > bound:
                allowed = 2 * rounding(name, layer)[key]
            assert_close(found, value, allowed, f"{key} at layer {layer}")
            assert_far(found, other[key], 10 * allowed, "another order of the batches")


@pytest.mark.parametrize(("name", "beyond"), [("gemma2", {"output"}), ("llama", set())])
def test_where_rounding_alone_moves_a_network_beyond_the_bound(name, beyond):
    """At layer 0 of this gemma2 no float32 loop can meet another to the bound in `output`.

    The exact first gradient of one entry of W₂ is -1.3e-7 where its unit's others are about 0.02,
    and float32 gives it to 1e-8. That is Adam's ε too, so the step of this entry follows the error.
    """
    moved = {key for key, move in rounding(name, 0).items() if move > BOUNDS[torch.float32]}
    assert moved >= beyond
    assert bool(moved) == bool(beyond)


def test_bipo(setting):
    model, examples, encoded, bound = setting
    method = BiPO(beta=0.3, lr=0.05, epochs=3, batch_size=2, warmup=3, seed=8)
    steering = method.fit(model, examples, batch_size=2)
    batches, signs = order_of(len(encoded), torch.Generator().manual_seed(8), method)
    assert set(signs) == {1.0, -1.0}
    settings = dict(beta=0.3, lr=0.05, warmup=3)
    for layer in inner_layers(model):
        expected = bipo_vector(model, encoded, layer, batches, signs, **settings)
        assert_close(steering.vector(layer), expected, bound, f"BiPO at layer {layer}")
        flipped = [-sign for sign in signs]
        other = bipo_vector(model, encoded, layer, batches, flipped, **settings)
        assert_far(steering.vector(layer), other, 100 * bound, "the opposite signs")


class _PlainSteps:
    """One step of plain gradient descent with learning rate 1, over all examples."""

    def optimiser(self, weights, steps):
        assert steps == 1
        optimiser = torch.optim.SGD(list(weights), lr=1.0)
        return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, lambda _: 1.0)


@dataclass(frozen=True)
class PlainVector(_PlainSteps, ReFTVector):
    pass


@dataclass(frozen=True)
class PlainMLP(_PlainSteps, ReFTMLP):
    pass


@dataclass(frozen=True, kw_only=True)
class PlainBiPO(_PlainSteps, BiPO):
    signs = (1.0,)


@dataclass(frozen=True, kw_only=True)
class OppositeBiPO(_PlainSteps, BiPO):
    signs = (-1.0,)


ONE = dict(epochs=1, batch_size=100)


@pytest.mark.parametrize("positions", ["all", "prompt", "last_prompt", "answer"])
def test_first_step_is_cold_kernel(name, positions):
    model, examples = model_of(name, torch.float64), data_of(name, "paired")
    loss = DPO(beta=0.7)
    first = PlainVector(loss, positions=positions, **ONE).fit(model, examples)
    network = PlainMLP(loss, positions=positions, hidden=4, **ONE).fit(model, examples)
    exact = ColdKernel(loss, positions).fit(model, examples)
    for place, layer in enumerate(layers_of(model)):
        bound = 1e-10 if exact.vector(layer).any() else 0
        assert_close(first.vector(layer), exact.vector(layer), bound, "the vector's first step")
        assert_close(network.weights["output_bias"][place], exact.vector(layer), bound, "the bias")


@pytest.mark.parametrize("method", [PlainBiPO, OppositeBiPO])
def test_first_step_of_bipo_is_cold_kernel(name, method):
    model, examples = model_of(name, torch.float64), data_of(name, "paired")
    first = method(beta=0.3, **ONE).fit(model, examples)
    exact = ColdKernel(DPO(0.3, "self", "sum"), "all").fit(model, examples)
    for layer in layers_of(model):
        assert_close(first.vector(layer), exact.vector(layer), 1e-10, "BiPO's first step")
