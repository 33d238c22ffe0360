"""Parameters: each once, exchanged and restored, upstream of a layer, fingerprinted."""

import pytest
import torch
import zoo
from torch.autograd import forward_ad

from coldlens.models.forward import residuals
from coldlens.models.parameters import exchanged, fingerprint, parameters, upstream

IDS = torch.tensor([[1, 30, 31, 32, 5, 6, 7]])
MASK = torch.ones_like(IDS).bool()
DEAD = ".attn.qkv."  # GPT-2 bridges keep an unused copy


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2", "gemma2", "neox"])
def test_every_parameter_once(architecture):
    model, original = zoo.bridge(architecture), zoo.hf_model(architecture)
    known = parameters(model)
    tensors = [parameter.tensor for parameter in known.values()]
    assert len({id(tensor) for tensor in tensors}) == len(tensors)
    assert {id(t) for t in tensors} == {id(t) for t in model.original_model.parameters()}
    if architecture in ("llama", "qwen2", "gemma2"):
        assert set(known) == {name for name, _ in original.named_parameters()}
        assert sum(t.numel() for t in tensors) == sum(p.numel() for p in original.parameters())
    for parameter in known.values():
        for module, attribute in parameter.slots:
            assert module._parameters[attribute] is parameter.tensor


@pytest.mark.parametrize(
    ("architecture", "tied"), [("qwen2", 2), ("gpt2", 2), ("gemma2", 2), ("llama", 1), ("neox", 1)]
)
def test_a_tied_embedding_has_two_slots(architecture, tied):
    first = next(iter(parameters(zoo.bridge(architecture)).values()))
    assert len(first.slots) == tied


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2"])
def test_exchanged_values_act_and_are_gone_afterwards(architecture):
    model = zoo.bridge(architecture)
    known = parameters(model)
    before = {name: parameter.tensor.detach().clone() for name, parameter in known.items()}
    with torch.no_grad():
        plain = model(IDS)
        with exchanged(model, {name: 1.5 * value for name, value in before.items()}):
            inside = model(IDS)
        assert not torch.allclose(inside, plain, rtol=0.1)
        assert torch.equal(model(IDS), plain)
    after = parameters(model)
    assert list(after) == list(known)
    for name, parameter in after.items():
        assert parameter.tensor is known[name].tensor
        assert torch.equal(parameter.tensor, before[name])


def test_exchanging_a_tied_parameter_reaches_both_slots():
    """The same as writing the value into the model's own tied parameter."""
    model, written = zoo.bridge("qwen2"), zoo.bridge("qwen2")
    name, parameter = next(iter(parameters(model).items()))
    value = parameter.tensor.detach() + 0.3
    with torch.no_grad():
        parameters(written)[name].tensor.copy_(value)
        with exchanged(model, {name: value}):
            found = model(IDS)
        assert torch.equal(found, written(IDS))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_exchanged_restores_after_an_exception(error):
    model = zoo.bridge("qwen2", dtype=torch.bfloat16)
    slots = {name: parameter.slots for name, parameter in parameters(model).items()}
    buffers = dict(model.original_model.named_buffers())
    values = {name: p.tensor.detach().float() for name, p in parameters(model).items()}
    with pytest.raises(error, match="inside"), exchanged(model, values):  # noqa: PT012
        assert model(IDS).dtype == torch.float32
        raise error("inside")
    after = parameters(model)
    assert {name: parameter.slots for name, parameter in after.items()} == slots
    assert {p.tensor.dtype for p in after.values()} == {torch.bfloat16}
    assert all(found is buffers[name] for name, found in model.original_model.named_buffers())


def test_dual_values_leave_nothing_behind():
    model = zoo.bridge("llama")
    own = {name: parameter.tensor for name, parameter in parameters(model).items()}
    with torch.no_grad(), forward_ad.dual_level():
        values = {
            name: forward_ad.make_dual(t.detach(), torch.ones_like(t)) for name, t in own.items()
        }
        with exchanged(model, values):
            assert forward_ad.unpack_dual(model(IDS)).tangent.any()
    assert all(parameters(model)[name].tensor is tensor for name, tensor in own.items())
    assert forward_ad._current_level == -1


def _moves(model, layer: int, name: str) -> bool:
    before = residuals(model, IDS, MASK, [layer])[0][layer]
    tensor = parameters(model)[name].tensor.detach()
    noise = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0))
    with exchanged(model, {name: tensor + 0.1 * noise}):
        after = residuals(model, IDS, MASK, [layer])[0][layer]
    return not torch.equal(before, after)


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2"])
def test_upstream_are_exactly_the_parameters_that_move_the_layer(architecture, layer):
    model = zoo.bridge(architecture)
    claimed = set(upstream(model, layer))
    with torch.no_grad():
        moving = {name for name in parameters(model) if _moves(model, layer, name)}
    assert moving <= claimed
    idle = claimed - moving
    # A key bias shifts every score of a query alike, which softmax ignores up to rounding.
    assert all(DEAD in name or name.endswith("attn.k.bias") for name in idle)
    assert 0 < len(moving) < len(parameters(model))


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_the_fingerprint_is_stable(architecture):
    model = zoo.bridge(architecture)
    first = fingerprint(model)
    model(IDS)
    assert fingerprint(model) == first == fingerprint(zoo.bridge(architecture))
    assert len(first) == 32
    assert fingerprint(zoo.bridge(architecture, seed=1)) != first
    assert fingerprint(zoo.bridge(architecture, dtype=torch.float64)) != first


@pytest.mark.parametrize("place", [(0, 0), (7, 3), (-1, -1)])
def test_one_changed_element_changes_the_fingerprint(place):
    model = zoo.bridge("llama")
    before = fingerprint(model)
    for parameter in parameters(model).values():
        if parameter.tensor.ndim == 2:
            with torch.no_grad():
                old = parameter.tensor[place].clone()
                parameter.tensor[place] += 1e-3
                assert fingerprint(model) != before
                parameter.tensor[place] = old
    assert fingerprint(model) == before


def test_a_change_through_data_changes_the_fingerprint():
    """`.data` keeps a tensor's version: an adapter that is merged that way must be noticed."""
    model = zoo.bridge("llama")
    before = fingerprint(model)
    tensor = list(parameters(model).values())[5].tensor
    version = tensor._version
    tensor.data.add_(1e-3)
    assert tensor._version == version
    assert fingerprint(model) != before


def test_fingerprint_does_not_depend_on_the_number_of_threads():
    model = zoo.bridge("llama")
    weight = parameters(model)["model.embed_tokens.weight"]
    big = torch.nn.Parameter(torch.randn(1009, 1009, generator=torch.manual_seed(0)))
    (module, attribute), *_ = weight.slots
    module._parameters[attribute] = big
    before, found = torch.get_num_threads(), set()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.add(fingerprint(model))
            with torch.no_grad():
                big.add_(0)  # a new version: computed again
    finally:
        torch.set_num_threads(before)
    assert len(found) == 1
