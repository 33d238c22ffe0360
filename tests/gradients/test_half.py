"""Models in half precision: the numbers of a float32 model with these weights, without a copy."""

from dataclasses import replace
from importlib import import_module

import pytest
import torch
import zoo
from exact.cases import INPUTS, data_of
from exact.closeness import assert_close
from exact.tolerances import SINGLE
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from coldlens.directions import ColdFD, ColdJVP
from coldlens.examples.example import Example, ExampleSet
from coldlens.examples.tokens import encode
from coldlens.gradients import packed
from coldlens.losses import DPO, CrossEntropy
from coldlens.models import parameters
from coldlens.models.casting import Deferred
from coldlens.references import jacobian_displacement, parameter_gradient

NAMES = ["llama", "gpt2", "gemma2", "qwen2"]
MILD = 0.12
"""Standard deviation of weights at which float32 resolves what the layers do to each other."""
TOKENS = torch.tensor([INPUTS[0]])
METHODS = {"fd": ColdFD(DPO(), epsilon=0.01), "jvp": ColdJVP(DPO())}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("form", ["factored", "dense", "low_rank"])
@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("name", NAMES)
def test_bit_for_bit_a_float32_model_with_these_weights(name, kind, form, dtype):
    made = []
    for settings in ({"dtype": dtype}, {"rounded_to": dtype}):
        model = zoo.bridge(name, std=MILD, **settings)
        method = replace(METHODS[kind], gradient=form)
        steering = method.fit(model, data_of(name, "paired"))
        made.append({**packed(steering.direction), **steering.displacement(TOKENS)})
    found, expected = made
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert type(found[key]) is torch.Tensor
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value), key


@pytest.mark.parametrize("form", ["factored", "dense"])
@pytest.mark.parametrize("name", NAMES)
def test_float64_reference(name, form):
    half = zoo.bridge(name, dtype=torch.bfloat16, std=MILD)
    double = zoo.bridge(name, dtype=torch.float64, rounded_to=torch.bfloat16, std=MILD)
    examples, (ids, *_) = data_of(name, "paired"), INPUTS
    found = ColdJVP(DPO(), gradient=form).fit(half, examples).displacement(TOKENS)
    g = parameter_gradient(double, encode(double, examples), DPO())
    for layer, displacement in found.items():
        expected = jacobian_displacement(double, ids, layer, g)
        assert_close(displacement[0], expected, SINGLE, f"{name}, {form}, layer {layer}")


def test_differences_in_float64_are_those_of_a_float64_model():
    made = []
    for dtype in (torch.float32, torch.float64):
        model = zoo.bridge("gpt2", dtype=dtype, rounded_to=torch.float32)
        steering = ColdFD(DPO(), epsilon=1e-6).fit(model, data_of("gpt2", "paired"))
        made.append(steering)
    single, double = made
    both = {"direction": single.direction, "double": True}
    expected = replace(double, **both).displacement(TOKENS)
    for layer, found in replace(single, **both).displacement(TOKENS).items():
        assert torch.equal(found, expected[layer].float())


class Alive(TorchDispatchMode):
    """Counts the tensors in the shape of a weight that are alive at the same time."""

    def __init__(self, model, dtype):
        """Takes the model, and the dtype of what is counted."""
        super().__init__()
        shapes = {tuple(p.shape) for p in model.original_model.parameters() if p.ndim == 2}
        self._shapes = shapes | {shape[::-1] for shape in shapes}
        self._dtype = dtype
        self._storages = {}
        self.most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Returns what the function gives."""
        if Deferred in types:
            return NotImplemented  # what it is made of comes by next
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            counts = isinstance(leaf, torch.Tensor) and leaf.dtype == self._dtype
            if counts and tuple(leaf.shape) in self._shapes and str(func) not in ZEROS:
                weak = StorageWeakRef(leaf.untyped_storage())
                self._storages[weak.cdata] = weak
        alive = {key: weak for key, weak in self._storages.items() if not weak.expired()}
        self._storages = alive
        self.most = max(self.most, len(alive))
        return result


ZEROS = {"aten._efficientzerotensor.default", "aten.expand.default"}
"""Forward mode has a zero without memory for what does not move."""
FEW = ExampleSet((Example((9, 4, 31), (12, 5), (17,)),))
"""So few tokens that no product of factors is worth forming."""


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("name", NAMES)
def test_one_weight_at_a_time(name, kind, copied, monkeypatch):
    """In a fit and in displacements. Counter-case: a copy of all that lies upstream."""
    if copied:
        for module in ("coldlens.capture.collect", "coldlens.models.parameters"):
            monkeypatch.setattr(import_module(module), "cast", torch.Tensor.to)
    model = zoo.bridge(name, dtype=torch.bfloat16, std=MILD)
    with Alive(model, torch.float32) as fit:
        steering = replace(METHODS[kind], gradient="factored").fit(model, FEW)
    with Alive(model, torch.float32) as forward:
        steering.displacement(TOKENS)
    matrices = sum(p.ndim == 2 for p in model.original_model.parameters())
    for watch in (fit, forward):
        assert (watch.most > matrices // 2) if copied else (watch.most == 1)


def test_a_dense_fit_differentiates_without_a_copy():
    """Its gradient, that of the batch, and one weight."""
    model = zoo.bridge("llama", dtype=torch.bfloat16, std=MILD)
    matrices = sum(p.ndim == 2 for p in model.original_model.parameters())
    with Alive(model, torch.float32) as watch:
        ColdJVP(CrossEntropy(), gradient="dense").fit(model, FEW)
    assert matrices <= watch.most <= 2 * matrices + 1


@pytest.mark.parametrize("copied", [False, True])
def test_one_weight_at_a_time_in_float64(copied, monkeypatch):
    if copied:
        monkeypatch.setattr(parameters, "cast", torch.Tensor.to)
    model = zoo.bridge("llama", std=MILD)
    steering = ColdFD(DPO(), epsilon=0.01, gradient="factored").fit(model, FEW)
    with Alive(model, torch.float64) as watch:
        replace(steering, double=True).displacement(TOKENS)
    assert (watch.most > 10) if copied else (watch.most == 1)
