"""Weights that are cast at each use: the numbers of a copy, bit for bit, and no copy kept."""

import pytest
import torch
from torch.autograd import forward_ad
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import embedding, linear

from coldlens.models.casting import Deferred, cast


def drawn(*shape):
    return torch.randn(*shape, generator=torch.manual_seed(len(shape)))


WEIGHT, EXPERTS, BIAS, INPUTS = (
    drawn(6, 5).bfloat16(),
    drawn(3, 6, 5).bfloat16(),
    drawn(6),
    drawn(2, 4, 5),
)
IDS = torch.tensor([[0, 5, 2], [2, 2, 1]])

USES = {
    "linear": (WEIGHT, lambda x, w: linear(x, w)),
    "with a bias": (WEIGHT, lambda x, w: linear(x, w, BIAS.to(w.dtype))),
    "one row": (WEIGHT, lambda x, w: linear(x[0, :1], w)),
    "Conv1D": (WEIGHT.T, lambda x, w: torch.addmm(BIAS.to(w.dtype), x.view(-1, 5), w)),
    "matmul": (WEIGHT, lambda x, w: x @ w.transpose(0, 1)),
    "embedding": (WEIGHT, lambda x, w: embedding(IDS, w) * x.sum()),
    "an expert": (EXPERTS, lambda x, w: linear(x, w[torch.tensor(1)])),
    "all experts": (EXPERTS, lambda x, w: torch.einsum("rti,eoi->reto", x, w)),
    "some experts": (EXPERTS, lambda x, w: torch.bmm(w[[2, 0, 0]], x.mT[:1].expand(3, -1, -1))),
    "reshaped": (WEIGHT, lambda x, w: x @ w.view(5, 6) + w.reshape(-1)[:6] + 2 * w.sum()),
}
"""The weight that is used, and how."""


@pytest.fixture(params=USES)
def use(request):
    return USES[request.param]


@pytest.fixture(params=[torch.float32, torch.float64])
def pair(use, request):
    """The weight's cast and a copy, then the inputs and what is done with them."""
    weight, apply = use
    found = cast(weight, request.param)
    assert isinstance(found, Deferred)
    assert found.untyped_storage().nbytes() == 0
    assert (found.dtype, found.shape, found.stride()) == (
        request.param,
        weight.shape,
        weight.stride(),
    )
    return found, weight.to(request.param), INPUTS.to(request.param), apply


def same(found, expected):
    assert type(found) is torch.Tensor
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_values(pair, mode):
    found, copy, inputs, apply = pair
    with mode():
        same(apply(inputs, found), apply(inputs, copy))


@pytest.mark.parametrize("leaf", [False, True])
def test_gradients(pair, leaf):
    """Of the inputs, and of the weight where it is a leaf."""

    def gradients(weight):
        wanted = [inputs.requires_grad_(), *([weight.detach().requires_grad_()] if leaf else [])]
        output = apply(inputs, wanted[-1] if leaf else weight)
        return torch.autograd.grad(output, wanted, torch.ones_like(output).cumsum(0))

    found, copy, inputs, apply = pair
    for one, other in zip(gradients(found), gradients(copy), strict=True):
        same(one, other)


@pytest.mark.parametrize("moving", ["inputs", "weight", "both"])
def test_forward_mode(pair, moving):
    def tangent(weight):
        x = inputs
        if moving != "weight":
            x = forward_ad.make_dual(x, x.cos())
        if moving != "inputs":
            weight = forward_ad.make_dual(weight, copy.sin())
        return forward_ad.unpack_dual(apply(x, weight))

    found, copy, inputs, apply = pair
    with torch.no_grad(), forward_ad.dual_level():
        for one, other in zip(tangent(found), tangent(copy), strict=True):
            same(one, other)


def test_batched_reverse_mode(pair):
    found, copy, inputs, apply = pair
    pulled = []
    for weight in (found, copy):
        output, pull, *_ = torch.func.vjp(lambda x, w=weight: apply(x, w), inputs)
        basis = torch.eye(output.numel(), dtype=output.dtype).view(-1, *output.shape)
        pulled.append(torch.vmap(pull)(basis)[0])
    same(*pulled)


@pytest.mark.parametrize("name", ["linear", "with a bias", "one row", "Conv1D", "an expert"])
def test_autograd_keeps_the_weight_and_no_copy(name):
    weight, apply = USES[name]
    kept = {}

    def note(tensor):
        if tensor.dtype == torch.float32 and tensor.numel() >= WEIGHT.numel():
            kept[label].append(type(tensor))
        return tensor

    for label, given in (("cast", cast(weight, torch.float32)), ("copy", weight.float())):
        kept[label] = []
        with saved_tensors_hooks(note, lambda tensor: tensor):
            apply(INPUTS[:1].requires_grad_(), given)
    assert set(kept["cast"]) == {Deferred}
    assert set(kept["copy"]) == {torch.Tensor}


def test_what_needs_no_cast():
    wide = drawn(3, 2)
    assert cast(wide, torch.float32) is wide
    same(cast(BIAS.half(), torch.float32), BIAS.half().float())
