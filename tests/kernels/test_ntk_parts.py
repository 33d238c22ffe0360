"""`params=`: contributions of parts add up to the whole."""

import pytest
import torch
from exact.cases import ARCHITECTURES, model_of
from exact.closeness import assert_close, assert_far
from kernels.ntk_cases import EXAMPLES, QUERIES

from coldlens.errors import ArgumentError
from coldlens.kernels import EmpiricalNTK
from coldlens.kernels.parameter_choice import WORDS, select_parameters
from coldlens.models.parameters import upstream

EXACT = 1e-12


def blocks(model, params, method="structured"):
    kernel = EmpiricalNTK(model, QUERIES, EXAMPLES, method=method, params=params)
    return kernel.blocks(len(model.blocks) - 1)


def parts_by_block(model):
    return [f"block {k}" for k in range(len(model.blocks))] + ["embeddings"]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_parts_cover_every_parameter_once(name):
    model = model_of(name)
    known = upstream(model, len(model.blocks) - 1)
    for parts in (WORDS, parts_by_block(model)):
        chosen = [found for part in parts for found in select_parameters(model, known, part)]
        assert sorted(chosen) == sorted(known)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3", "neox", "phi3"])
def test_contributions_add_up(name):
    model = model_of(name)
    whole = blocks(model, None)
    for parts in (WORDS, parts_by_block(model)):
        shares = [blocks(model, part) for part in parts]
        assert_close(torch.stack(shares).sum(0), whole, EXACT, f"sum over {parts}")
        assert_far(torch.stack(shares[1:]).sum(0), whole, 1e-6, f"sum without {parts[0]}")
    assert_close(blocks(model, list(WORDS)), whole, EXACT, "all words together")


@pytest.mark.parametrize(
    "params",
    ["norms", "block 1", lambda name: name.endswith("bias")],
    ids=["norms", "block 1", "biases"],
)
def test_parts_are_those_of_the_jacobian(params):
    model = model_of("gpt2")
    assert_close(blocks(model, params), blocks(model, params, "jacobian"), EXACT, "blocks")
    fast, slow = (
        EmpiricalNTK(model, QUERIES, EXAMPLES, method=method, params=params).cross_block(2, 0, 1)
        for method in ("structured", "jacobian")
    )
    assert_close(fast, slow, EXACT, "every token")


def test_layers_below_a_part_have_no_kernel():
    for method in ("structured", "jacobian"):
        kernel = EmpiricalNTK(model_of("llama"), QUERIES, EXAMPLES, method=method, params="block 1")
        assert not kernel.blocks(0).any()
        assert not kernel.cross_block(0, 0, 0).any()
        assert kernel.blocks(1).any()


def test_dead_parameters_have_no_kernel():
    def fused(name):
        return "attn.qkv" in name

    kernel = EmpiricalNTK(model_of("gpt2"), QUERIES, EXAMPLES, params=fused)
    assert not kernel.blocks(2).any()
    coverage = kernel.coverage(2)
    assert len(coverage.dead) == 6
    assert not coverage.structured
    assert not coverage.dense


UNKNOWN = {
    "a kind": "heads",
    "a block too deep": "block 3",
    "no number": "block x",
    "nothing chosen": lambda name: False,
    "an empty list": [],
}


@pytest.mark.parametrize("params", UNKNOWN.values(), ids=UNKNOWN)
def test_unknown_parts(params):
    with pytest.raises(ArgumentError, match="Expected params"):
        EmpiricalNTK(model_of("llama"), QUERIES, EXAMPLES, params=params)
