"""The structured kernel against Jacobians, on every architecture."""

import pytest
import torch
import zoo
from exact.cases import ARCHITECTURES, model_of
from exact.closeness import assert_close, assert_far
from kernels.ntk_cases import EXAMPLES, QUERIES, WIDE, literal_block

from coldlens.examples.example import Example
from coldlens.kernels import EmpiricalNTK
from coldlens.models.parameters import upstream

EXACT, SINGLE = 1e-12, 1e-5
"""Sums of some thousand products in two orders, in float64 and in float32."""

TIED = ("qwen2", "gemma2", "gemma3", "gpt2")


def kernels(model, **settings):
    return [
        EmpiricalNTK(model, QUERIES, EXAMPLES, method=method, **settings)
        for method in ("structured", "jacobian")
    ]


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2", "neox"])
def test_jacobian_blocks_are_literal(name):
    model = model_of(name)
    kernel = EmpiricalNTK(model, QUERIES, EXAMPLES, method="jacobian")
    prompts = [example.prompt for example in EXAMPLES]
    for layer in (0, 2):
        names = set(upstream(model, layer))
        expected = torch.stack(
            [
                torch.stack([literal_block(model, layer, q, e, names) for e in prompts])
                for q in QUERIES
            ]
        )
        assert_close(kernel.blocks(layer), expected, EXACT, f"blocks at layer {layer}")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_structured_is_jacobian(architecture, dtype):
    model = model_of(architecture, dtype)
    fast, slow = kernels(model, layers=[0, -1])
    bound = EXACT if dtype == torch.float64 else SINGLE
    for layer in fast.layers:
        blocks, expected = fast.blocks(layer), slow.blocks(layer)
        for q in range(len(QUERIES)):
            for e in range(len(EXAMPLES)):
                what = f"query {q}, example {e} at layer {layer}"
                assert_close(blocks[q, e], expected[q, e], bound, what)
        assert_close(fast.query_blocks(layer), slow.query_blocks(layer), bound, "query blocks")
        assert_close(fast.traces(layer), slow.traces(layer), bound, "traces")
        assert_close(fast.example_block(layer, 1), slow.example_block(layer, 1), bound, "example")


@pytest.mark.parametrize("side", ["positive", "negative"])
def test_every_token_of_an_example(architecture, side):
    fast, slow = kernels(model_of(architecture), layers=[1])
    for example, chosen in enumerate(EXAMPLES):
        found = fast.cross_block(1, 1, example, side)
        expected = slow.cross_block(1, 1, example, side)
        assert len(found) == len(chosen.prompt) + len(getattr(chosen, side))
        for token, (block, true) in enumerate(zip(found, expected, strict=True)):
            assert_close(block, true, EXACT, f"token {token} of example {example}")
        last = found[len(chosen.prompt) - 1]
        assert_close(last, fast.blocks(1)[1, example], EXACT, "the last prompt token")


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3"])
def test_more_tokens_than_inputs(name):
    fast, slow = (
        EmpiricalNTK(model_of(name), QUERIES, [WIDE, *EXAMPLES], [2], method=method)
        for method in ("structured", "jacobian")
    )
    assert_close(fast.blocks(2), slow.blocks(2), EXACT, "blocks")
    assert_close(fast.traces(2), slow.traces(2), EXACT, "traces")
    assert_close(fast.cross_block(2, 0, 0), slow.cross_block(2, 0, 0), EXACT, "every token")
    forms = EmpiricalNTK(model_of(name), [WIDE.prompt], [WIDE], [2]).estimate().forms
    assert "weight" in forms.values()
    assert "Gram" in forms.values()


def test_symmetric_and_positive(architecture):
    model, prompt = model_of(architecture), EXAMPLES[1].prompt
    forward = EmpiricalNTK(model, [QUERIES[0]], [EXAMPLES[1]], [2])
    backward = EmpiricalNTK(model, [prompt], [Example(QUERIES[0], (5,))], [2])
    found = forward.blocks(2)[0, 0]
    assert_close(found, backward.blocks(2)[0, 0].T, EXACT, "K(x, x') and K(x', x)")
    # Counter-case: a block of two sequences is not symmetric in itself.
    assert_far(found, found.T, 1e-3, "a block and its transpose")
    for block in (forward.self_block(2, 0), backward.self_block(2, 0)):
        assert torch.equal(block, block.T)
        values = torch.linalg.eigvalsh(block)
        assert values[0] >= -1e-12 * values[-1]


def test_positions_last_prompt():
    kernel = EmpiricalNTK(model_of("llama"), QUERIES, EXAMPLES, [1], positions="last_prompt")
    found = kernel.cross_block(1, 0, 2)
    assert found.shape == (1, 16, 16)
    assert torch.equal(found[0], kernel.blocks(1)[0, 2])
    assert torch.equal(kernel.cross_block(1, 0, 2, "negative"), found)


@pytest.mark.parametrize("name", TIED)
def test_tied_embedding_counts_as_embedding(name):
    model = model_of(name)
    tied = {n: p for n, p in upstream(model, 2).items() if len(p.slots) > 1}
    assert tied
    coverage = EmpiricalNTK(model, QUERIES, EXAMPLES).coverage(2)
    assert set(tied) <= set(coverage.structured)


def test_half_precision_is_computed_in_single():
    half = zoo.bridge("llama", dtype=torch.bfloat16, std=0.12)
    single = zoo.bridge("llama", rounded_to=torch.bfloat16, std=0.12)
    found, expected = (EmpiricalNTK(m, QUERIES, EXAMPLES).blocks(2) for m in (half, single))
    assert found.dtype == torch.float32
    assert_close(found, expected, SINGLE, "blocks")


@pytest.fixture(params=ARCHITECTURES)
def architecture(request):
    return request.param
