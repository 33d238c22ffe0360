"""`apply` adds exactly eta times the displacement, at the selected positions, and nothing else."""

import pytest
import torch
import zoo
from torch import Tensor

from coldlens.directions import ColdFD, ColdJVP, ColdKernel, DiffMean, Probe
from coldlens.losses import DPO
from coldlens.models.parameters import parameters

IDS = torch.tensor([[1, 30, 31, 32, 5, 6], [1, 7, 8, 9, 10, 11]])
POSITIONS = {
    "prompt": [0, 1, 2, 3, 4, 5],
    "all": [0, 1, 2, 3, 4, 5],
    "last_prompt": [5],
    (1, 3): [1, 2],
    (-2, None): [4, 5],
    (None, -4): [0, 1],
    (-3, -1): [3, 4],
    (2, 100): [2, 3, 4, 5],
}


def _added_by_hand(model, changes: dict[int, Tensor], ids: Tensor = IDS) -> Tensor:
    """Logits with `changes` added to the residual stream by TransformerLens's own hooks."""
    hooks = [
        (f"blocks.{layer}.hook_resid_post", lambda value, hook, change=change: value + change)
        for layer, change in changes.items()
    ]
    with torch.no_grad():
        return model.run_with_hooks(ids, fwd_hooks=hooks)


def _logits(model, *contexts, ids: Tensor = IDS) -> Tensor:
    if not contexts:
        with torch.no_grad():
            return model(ids)
    with contexts[0]:
        return _logits(model, *contexts[1:], ids=ids)


@pytest.mark.parametrize("positions", POSITIONS, ids=str)
@pytest.mark.parametrize("method", [DiffMean(), ColdJVP()], ids=lambda method: method.label)
def test_adds_at_the_selected_positions(llama, examples, method, positions):
    steering = method.fit(llama, examples)
    change = torch.zeros(*IDS.shape, 16)
    columns = POSITIONS[positions]
    change[:, columns] = 0.3 * steering.displacement(IDS)[1][:, columns]
    found = _logits(llama, steering.apply(llama, layer=1, eta=0.3, positions=positions))
    torch.testing.assert_close(found, _added_by_hand(llama, {1: change}), rtol=1e-5, atol=1e-5)
    first = columns[0]
    assert torch.equal(found[:, :first], _logits(llama)[:, :first])
    assert not torch.allclose(found[:, first], _logits(llama)[:, first], rtol=1e-3)


@pytest.mark.parametrize(("eta", "layer"), [(0.0, 1), (-1.5, 0), (2.0, -1)])
def test_eta_and_layer(llama, examples, eta, layer):
    steering = DiffMean().fit(llama, examples)
    expected = _added_by_hand(llama, {layer % 3: eta * steering.vector(layer)})
    found = _logits(llama, steering.apply(llama, layer=layer, eta=eta))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    "methods",
    [(DiffMean(), Probe()), (ColdJVP(), ColdFD(epsilon=0.05)), (ColdJVP(), DiffMean())],
    ids=["static", "dependent", "mixed"],
)
def test_nested_contexts_add_up(llama, examples, methods):
    """Each displacement is computed on the unsteered model, so the order does not matter."""
    one, two = (method.fit(llama, examples) for method in methods)
    total = 0.5 * one.displacement(IDS)[1] - 0.2 * two.displacement(IDS)[1]
    expected = _added_by_hand(llama, {1: total})
    contexts = lambda: (one.apply(llama, layer=1, eta=0.5), two.apply(llama, layer=1, eta=-0.2))  # noqa: E731
    torch.testing.assert_close(_logits(llama, *contexts()), expected, rtol=1e-4, atol=1e-4)
    turned = _logits(llama, *contexts()[::-1])
    torch.testing.assert_close(turned, expected, rtol=1e-4, atol=1e-4)


def test_nested_contexts_at_two_layers(llama, examples):
    one, two = ColdJVP().fit(llama, examples), ColdKernel().fit(llama, examples)
    parts = {0: one.displacement(IDS)[0], 2: two.displacement(IDS)[2]}
    found = _logits(llama, one.apply(llama, layer=0), two.apply(llama, layer=2))
    expected = _added_by_hand(llama, parts)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_several_layers_of_a_static_steering_each_get_their_vector(llama, examples):
    steering = DiffMean().fit(llama, examples)
    expected = _added_by_hand(llama, {0: steering.vector(0), 2: steering.vector(2)})
    found = _logits(llama, steering.apply(llama, layer=[2, 0]))
    torch.testing.assert_close(found, expected)


def _residual(model, values: dict[str, Tensor], layer: int, held: dict[int, Tensor]) -> Tensor:
    """Z_layer at other parameter values, with earlier layers replaced: all written out."""
    tensors = {name: parameter.tensor for name, parameter in parameters(model).items()}
    before = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    read = []
    hooks = [
        (f"blocks.{place}.hook_resid_post", lambda value, hook, held_value=held_value: held_value)
        for place, held_value in held.items()
    ]
    hooks.append((f"blocks.{layer}.hook_resid_post", lambda value, hook: read.append(value)))
    with torch.no_grad():
        for name, value in values.items():
            tensors[name].copy_(value)
        model.run_with_hooks(IDS, fwd_hooks=hooks)
        for name, value in before.items():
            tensors[name].copy_(value)
    return read[0]


@pytest.mark.parametrize("method", [ColdFD(epsilon=0.02), ColdJVP()], ids=lambda m: m.label)
def test_a_later_layer_is_taken_given_the_earlier_one(examples, method):
    """With all positions steered, layer 2 moves only by what block 2 (after layer 1) adds."""
    model = zoo.bridge("gpt2", dtype=torch.float64)
    steering = method.fit(model, examples)
    plain = steering.displacement(IDS)
    found = _logits(model, steering.apply(model, layer=[1, 2], eta=0.7))

    tensors = {name: parameter.tensor.detach() for name, parameter in parameters(model).items()}
    gradient = ColdFD(epsilon=0.02, loss=DPO()).fit(model, examples).direction
    step = 0.02 if isinstance(method, ColdFD) else 1e-5
    moved = {name: tensors[name] + step * change for name, change in gradient.items()}
    held = {1: _residual(model, {}, 1, {}) + 0.7 * plain[1]}
    base = _residual(model, {}, 2, held)
    later = -(_residual(model, moved, 2, held) - base) / step
    expected = _added_by_hand(model, {1: 0.7 * plain[1], 2: 0.7 * later})
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert later.norm() < 0.9 * plain[2].norm()
    counted_twice = _added_by_hand(model, {1: 0.7 * plain[1], 2: 0.7 * plain[2]})
    assert not torch.allclose(found, counted_twice, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("method", [ColdFD(epsilon=0.05), ColdJVP()], ids=lambda m: m.label)
def test_one_layer_in_a_list_equals_the_plain_displacement(llama, examples, method):
    steering = method.fit(llama, examples)
    one = _logits(llama, steering.apply(llama, layer=1, eta=0.5))
    listed = _logits(llama, steering.apply(llama, layer=[1], eta=0.5))
    by_hand = _added_by_hand(llama, {1: 0.5 * steering.displacement(IDS)[1]})
    assert torch.equal(one, listed)
    torch.testing.assert_close(one, by_hand, rtol=1e-5, atol=1e-5)


def test_two_prompts_in_one_block_each_get_their_displacement(llama, examples):
    steering = ColdJVP().fit(llama, examples)
    other = torch.tensor([[1, 44, 45]])
    with steering.apply(llama, layer=1), torch.no_grad():
        both = [llama(IDS), llama(other), llama(IDS)]
    for found, ids in zip(both, (IDS, other, IDS), strict=True):
        change = {1: steering.displacement(ids)[1]}
        torch.testing.assert_close(found, _added_by_hand(llama, change, ids), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", [DiffMean(), ColdJVP(), ColdFD()], ids=lambda m: m.label)
def test_a_bfloat16_model_stays_bfloat16(examples, method):
    model = zoo.bridge("llama", dtype=torch.bfloat16)
    steering = method.fit(model, examples)
    found = _logits(model, steering.apply(model, layer=[0, 1], eta=0.5))
    assert found.dtype == torch.bfloat16
    assert not torch.equal(found, _logits(model))
    with steering.apply(model, layer=1, positions="all"):
        tokens = model.generate(
            IDS[:1], max_new_tokens=3, do_sample=False, return_type="tokens", verbose=False
        )
    assert tokens.shape == (1, 9)
