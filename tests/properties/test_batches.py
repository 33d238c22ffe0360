"""Batch size, order, choice of layers and shared passes change no result."""

from functools import reduce
from operator import or_

import pytest
from torch import Tensor

from coldlens.capture import Needs, collect
from coldlens.directions import ICV, ColdFD, ColdJVP, ColdKernel, DiffMean, FineTune, Probe, RepE
from coldlens.directions.method import Method
from coldlens.examples.example import Example, ExampleSet
from coldlens.losses import DPO, ContrastiveSquaredError, CrossEntropy

PROMPTS = ["red blue green", "the user asks you"]
TOLERANCE = 2e-5  # float32 sums in another order
NOISY = 1e-2  # a difference of two float32 forwards whose step is small
NEEDS = [
    Needs(activations=frozenset({("positive", "answer"), ("negative", "answer")})),
    Needs(gradients=frozenset({(DPO(), "last_prompt"), (CrossEntropy(), "prompt")})),
    Needs(gradients=frozenset({(ContrastiveSquaredError(), "answer")})),
    Needs(parameter_gradients=frozenset({DPO(), CrossEntropy()})),
]


def _flat(evidence, needs: Needs) -> dict[str, Tensor]:
    found = {f"activation {key}": evidence.activations[key] for key in needs.activations}
    found |= {f"gradient {key}": evidence.gradients[key] for key in needs.gradients}
    for loss in needs.parameter_gradients:
        found |= {
            f"{loss} {name}": tensor for name, tensor in evidence.parameter_gradients[loss].items()
        }
    for loss in needs.losses:
        if loss in evidence.losses:
            found[f"loss {loss}"] = evidence.losses[loss]
    return found


def _assert_close(left: Tensor, right: Tensor, tolerance: float, what: str = "") -> None:
    error = ((left - right).norm() / right.norm().clamp_min(1e-12)).item()
    assert error < tolerance, f"{what}: relative error {error:.2g}"


def _tolerance(method: Method) -> float:
    return NOISY if isinstance(method, ColdFD | FineTune) else TOLERANCE


def _assert_same(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        _assert_close(tensor, right[name], TOLERANCE, name)


@pytest.mark.parametrize("needs", NEEDS, ids=["activations", "logits", "residual", "parameters"])
def test_batch_size_does_not_change_the_evidence(llama, examples, needs):
    found = [
        _flat(collect(llama, examples, (0, 1, 2), needs, batch_size=size), needs)
        for size in (1, 2, 8)
    ]
    assert all(tensor.any() for tensor in found[0].values())
    _assert_same(found[1], found[0])
    _assert_same(found[2], found[0])


@pytest.mark.parametrize("needs", NEEDS, ids=["activations", "logits", "residual", "parameters"])
def test_a_shared_pass_gives_what_each_pass_gives(llama, examples, needs):
    union = reduce(or_, NEEDS)
    shared = collect(llama, examples, (0, 2), union, batch_size=2)
    alone = collect(llama, examples, (0, 2), needs, batch_size=2)
    _assert_same(_flat(shared, needs), _flat(alone, needs))


def test_every_method_solves_from_the_shared_evidence(llama, examples, methods):
    union = reduce(or_, (method.needs(examples) for method in methods.values()))
    shared = collect(llama, examples, (0, 1, 2), union)
    for name, method in methods.items():
        from_shared = method.solve(llama, shared).displacement(PROMPTS)
        alone = method.fit(llama, examples).displacement(PROMPTS)
        for layer in (0, 1, 2):
            _assert_close(from_shared[layer], alone[layer], _tolerance(method), name)


def test_batch_size_does_not_change_the_steering(llama, examples, method):
    large = method.fit(llama, examples).displacement(PROMPTS)
    small = method.fit(llama, examples, batch_size=1).displacement(PROMPTS)
    for layer in (0, 1, 2):
        _assert_close(small[layer], large[layer], _tolerance(method))


@pytest.mark.parametrize(
    "method",
    [DiffMean(), RepE(), Probe(), ColdKernel(), ColdKernel(kernel="linear"), ColdJVP(), FineTune()],
    ids=lambda method: method.label,
)
def test_order_of_examples_does_not_matter(llama, examples, method):
    turned = ExampleSet(examples.examples[::-1])
    straight = method.fit(llama, examples).displacement(PROMPTS)
    back = method.fit(llama, turned).displacement(PROMPTS)
    for layer in (0, 1, 2):
        _assert_close(back[layer], straight[layer], max(1e-4, _tolerance(method)))


def test_evidence_keeps_the_order_of_the_examples(llama, examples):
    """Batches are cut by length; rows must come back in the caller's order."""
    needs = NEEDS[0]
    together = collect(llama, examples, (1,), needs, batch_size=2).activations
    for index, example in enumerate(examples):
        alone = collect(llama, ExampleSet((example,)), (1,), needs).activations
        for key, values in alone.items():
            _assert_close(together[key][:, index], values[:, 0], TOLERANCE)


@pytest.mark.parametrize("layer", [0, 1])
def test_one_layer_equals_the_same_layer_of_all(llama, examples, method, layer):
    everything = method.fit(llama, examples).displacement(PROMPTS)[layer]
    only = method.fit(llama, examples, layers=[layer]).displacement(PROMPTS)
    assert list(only) == [layer]
    if isinstance(method, ICV):
        assert (only[layer] - everything).norm() > 0.01 * everything.norm()
    else:
        _assert_close(only[layer], everything, _tolerance(method))


def test_doubling_the_examples_keeps_the_means(llama, examples):
    doubled = ExampleSet(examples.examples * 2)
    for method in (DiffMean(), ColdKernel(), ColdJVP()):
        once = method.fit(llama, examples).displacement(PROMPTS)[2]
        twice = method.fit(llama, doubled, batch_size=3).displacement(PROMPTS)[2]
        _assert_close(twice, once, TOLERANCE)


def test_another_example_changes_the_mean(llama, examples):
    more = ExampleSet((*examples, Example("river", " stone", " bird")))
    for method in (DiffMean(), ColdKernel(), ColdJVP()):
        before = method.fit(llama, examples).displacement(PROMPTS)[2]
        after = method.fit(llama, more).displacement(PROMPTS)[2]
        assert (after - before).norm() > 1e-3 * before.norm()
