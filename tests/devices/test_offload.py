"""Models whose weights accelerate keeps elsewhere: the same numbers, a weight at a time."""

from functools import cache

import pytest
import torch
import zoo
from accelerate import cpu_offload, disk_offload, dispatch_model
from devices.boot import booted
from exact.cases import DATA
from exact.closeness import assert_close
from pandas.testing import assert_frame_equal

import coldlens as cl
from coldlens.gradients import recognised
from coldlens.losses import DPO
from coldlens.models.parameters import exchanged, fingerprint, parameters
from coldlens.steering.steering import Steering

CPU = torch.device("cpu")
EXAMPLES = DATA["paired"]
LOSS = DPO(beta=0.7)
TOKENS = torch.tensor([[1, 6, 7, 8, 9, 10, 11], [1, 30, 35, 4, 5, 0, 0]])
METHODS = {
    "mean": cl.DiffMean(),
    "kernel": cl.ColdKernel(LOSS),
    "difference, factored": cl.ColdFD(LOSS, epsilon=1e-3, gradient="factored"),
    "difference, dense": cl.ColdFD(LOSS, epsilon=1e-3, gradient="dense"),
    "tangent, factored": cl.ColdJVP(LOSS, gradient="factored"),
    "tangent, dense": cl.ColdJVP(LOSS, gradient="dense"),
    "step": cl.FineTune(loss=LOSS),
    "adapter": cl.LoRA(epochs=1, rank=1),
    "trained vector": cl.BiPO(epochs=1),
    "trained change": cl.ReFTVector(epochs=1),
}
SAME = 1e-6
"""Relative, in float32: the same operations on the same values, which may lie elsewhere."""


@cache
def whole(name):
    return booted(zoo.hf_model(name))


def mapped(network, folder):
    """Returns a model with one block on the disk."""
    stem = network.base_model_prefix
    places = {"lm_head": "cpu"}
    for child, part in network.base_model.named_children():
        blocks = range(len(part)) if child in ("layers", "h") else [None]
        for at in blocks:
            path = f"{stem}.{child}" if at is None else f"{stem}.{child}.{at}"
            places[path] = "disk" if at == 1 else "cpu"
    return dispatch_model(network, places, main_device="cpu", offload_dir=str(folder))


OFFLOADED = {
    "cpu": lambda network, _: cpu_offload(network, CPU),
    "disk": lambda network, folder: disk_offload(network, str(folder), CPU, offload_buffers=True),
    "map": mapped,
}


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def name(request):
    return request.param


@pytest.fixture(scope="module", params=OFFLOADED)
def model(name, request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return booted(OFFLOADED[request.param](zoo.hf_model(name), folder))


def state(model):
    """Returns where parameters are and what loads them."""
    modules = model.original_model.modules()
    hooks = [one.__dict__["_hf_hook"] for one in modules if "_hf_hook" in one.__dict__]
    held = [one.device.type for one in model.original_model.parameters()]
    return held, [(id(hook), hook.offload) for hook in hooks]


@pytest.fixture(autouse=True)
def _nothing_changes(model):
    before = state(model)
    assert "meta" in before[0]
    yield
    assert state(model) == before


def test_same_parameters(name, model):
    found, expected = parameters(model), parameters(whole(name))
    assert list(found) == list(expected)
    for key, parameter in expected.items():
        assert len(found[key].slots) == len(parameter.slots)
        assert torch.equal(found[key].tensor.clone(), parameter.tensor)
    assert fingerprint(model) == fingerprint(whole(name))


def test_same_in_half_precision(name, tmp_path):
    """Each weight is loaded and cast."""
    networks = [zoo.hf_model(name).bfloat16() for _ in range(2)]
    half = booted(networks[0]), booted(disk_offload(networks[1], str(tmp_path), CPU))
    method = cl.ColdJVP(LOSS, gradient="factored")
    expected, found = (method.fit(one, EXAMPLES).displacement(TOKENS) for one in half)
    for layer, values in found.items():
        assert_close(values, expected[layer], SAME)
    assert "meta" in state(half[1])[0]


@pytest.mark.parametrize("method", METHODS)
def test_same_displacement(name, model, method, tmp_path):
    expected = METHODS[method].fit(whole(name), EXAMPLES).displacement(TOKENS, TOKENS > 0)
    METHODS[method].fit(model, EXAMPLES).save(tmp_path / "steering")
    found = Steering.load(tmp_path / "steering", model).displacement(TOKENS, TOKENS > 0)
    for layer, values in found.items():
        assert values.device == CPU
        assert_close(values, expected[layer], SAME, f"{method} at layer {layer}")


@pytest.mark.parametrize("method", list(METHODS)[:6])
def test_same_steering(name, model, method):
    inputs = {"attention_mask": (TOKENS > 0).long(), "return_type": "logits"}
    logits, tables = [], []
    for one in (whole(name), model):
        steering = METHODS[method].fit(one, EXAMPLES)
        with steering.apply(one, layer=1, eta=0.3), torch.no_grad():
            logits.append(one(TOKENS, **inputs)[TOKENS > 0])
        tables.append(cl.evaluate(one, EXAMPLES, steering, 1, 0.5).table)
    assert_close(logits[1], logits[0], SAME)
    assert_frame_equal(tables[1], tables[0], rtol=SAME, atol=SAME)


def test_same_comparison(name, model):
    expected, found = (cl.compare_directions(one, EXAMPLES) for one in (whole(name), model))
    assert_frame_equal(found.table, expected.table, rtol=SAME, atol=SAME)
    assert_frame_equal(found.tokens, expected.tokens, rtol=SAME, atol=SAME)


def test_after_an_exception(model):
    def stop():
        with exchanged(model, {}):
            assert "meta" not in state(model)[0]
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stop()


def test_weight_with_another_use(model):
    """Its gradient is no sum of outer products over the tokens."""
    ids = TOKENS[:1]
    *_, last = (call.place for call in recognised(model, ids) if "1." in call.place.name)
    handle = last.module.register_forward_hook(lambda m, _, output: output + m.weight.sum())
    try:
        names = {call.place.name for call in recognised(model, ids)}
    finally:
        handle.remove()
    assert last.name not in names
    assert names
