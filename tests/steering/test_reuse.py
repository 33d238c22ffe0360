"""The residual stream that a steered forward reads anyway serves its displacement too."""

from collections import Counter
from contextlib import contextmanager

import pytest
import torch
import zoo

from coldlens.directions import ColdFD, ColdJVP, ColdKernel, DiffMean
from coldlens.evaluation import evaluate
from coldlens.examples.batch import pad
from coldlens.examples.example import Example
from coldlens.models.forward import residuals

ROWS = [(1, 30, 31, 32, 5, 6), (1, 7, 8, 9)]
TOKENS, MASK = pad(ROWS)
METHODS = {
    "forward": ColdFD(epsilon=0.05),
    "central": ColdFD(epsilon=0.05, scheme="central"),
    "tangent": ColdJVP(),
    "linear": ColdKernel(kernel="linear"),
    "static": DiffMean(),
}
RUNS = {"forward": 2, "central": 3, "tangent": 2, "linear": 1, "static": 1}
"""How often block 0 runs in one steered forward, that forward itself included."""


@contextmanager
def counted(model):
    """Counts the runs of each block."""
    runs = Counter()
    handles = [
        block.register_forward_pre_hook(lambda *_, place=place: runs.update([place]))
        for place, block in enumerate(model.original_model.model.layers)
    ]
    yield runs
    for handle in handles:
        handle.remove()


def steered(model, steering, tokens=TOKENS, mask=MASK, layer=1):
    with steering.apply(model, layer=layer, eta=0.5), torch.no_grad():
        return model(tokens, attention_mask=mask)


def by_hand(model, steering, layer=1):
    change = 0.5 * steering.displacement(TOKENS, MASK)[layer]
    with torch.no_grad():
        edit = lambda _layer, residual: residual + change  # noqa: E731
        return residuals(model, TOKENS, MASK, [layer], edit=edit, logits=True)[1]


@pytest.mark.parametrize("kind", METHODS)
def test_one_forward_less(llama, examples, kind):
    steering = METHODS[kind].fit(llama, examples)
    with counted(llama) as runs:
        found = steered(llama, steering)
    assert runs == {0: RUNS[kind], 1: RUNS[kind], 2: 1}
    torch.testing.assert_close(found[MASK], by_hand(llama, steering)[MASK], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", zoo.CONFIGS)
def test_the_stream_is_the_one_that_coldlens_reads(name, examples):
    """Bit by bit, so that the difference of two forwards is as exact as before."""
    model, tokens, mask = zoo.bridge(name), TOKENS[:1], MASK[:1]
    steering = ColdFD(epsilon=0.05).fit(model, examples)
    plain = steering.displacement(tokens, mask)[1]
    read = []
    hook = model.hook_dict["blocks.1.hook_resid_post"].register_forward_hook(
        lambda _point, _inputs, output: read.append(output)
    )
    with torch.no_grad():
        model(tokens, attention_mask=mask)
    hook.remove()
    assert torch.equal(steering.begin_field(tokens, mask, (1,))({1: read[0]})[1], plain)
    other = steering.begin_field(tokens, mask, (1,))({1: read[0] + 1e-3})[1]
    assert not torch.allclose(other, plain), "the stream matters"


def test_float64_and_half_precision_differences_read_streams_of_their_own(examples):
    for dtype, runs_of_it in ((torch.float64, 3), (torch.bfloat16, 3)):
        model = zoo.bridge("llama", dtype=dtype)
        steering = ColdFD(epsilon=0.05).fit(model, examples)
        with counted(model) as runs:
            steered(model, steering)
        assert runs[0] == runs_of_it, dtype


def test_left_padding_reads_a_stream_of_its_own(llama, examples):
    steering = METHODS["forward"].fit(llama, examples)
    tokens, mask = pad(ROWS, side="left")
    with counted(llama) as runs:
        found = steered(llama, steering, tokens, mask)
    assert runs[0] == 3
    expected = by_hand(llama, steering)
    torch.testing.assert_close(found[mask], expected[MASK], rtol=1e-4, atol=1e-4)


def test_a_hook_that_comes_later_counts_on_both_sides(llama, examples):
    """It changes the layer after the steering, in the moved model before it is read."""
    steering = METHODS["forward"].fit(llama, examples)
    name, ids = "blocks.1.hook_resid_post", TOKENS[:1]
    half = lambda value, hook: 0.5 * value  # noqa: E731
    change = 0.5 * 0.5 * steering.displacement(ids)[1]
    with torch.no_grad():
        add = lambda value, hook: value + change  # noqa: E731
        expected = llama.run_with_hooks(ids, fwd_hooks=[(name, add), (name, half)])
        with steering.apply(llama, layer=1, eta=0.5):
            found = llama.run_with_hooks(ids, fwd_hooks=[(name, half)])
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_a_cache_holds_the_steered_forward_and_no_other(llama, examples):
    steering, ids = METHODS["forward"].fit(llama, examples), TOKENS[:1]
    names = [f"blocks.{layer}.hook_resid_post" for layer in range(2)]
    with torch.no_grad():
        _, plain = llama.run_with_cache(ids, names_filter=names)
        with steering.apply(llama, layer=1, eta=0.5):
            _, cache = llama.run_with_cache(ids, names_filter=names)
    assert torch.equal(cache[names[0]], plain[names[0]])
    moved = cache[names[1]] - plain[names[1]]
    expected = 0.5 * steering.displacement(ids)[1]
    torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", METHODS)
def test_evaluation_runs_the_prefix_once(llama, examples, kind):
    steering = METHODS[kind].fit(llama, examples)
    questions = [Example(row, (13,), (14,)) for row in ROWS]
    with counted(llama) as runs:
        evaluate(llama, questions, steering, layer=1, eta=0.5)
    assert runs == {0: RUNS[kind], 1: RUNS[kind], 2: 2}


def added(model, steering, **inputs):
    """Returns what a block with η = 1 adds at layer 1, as the next one reads it."""
    read = []
    handle = model.hook_dict["blocks.2.hook_resid_pre"].register_forward_hook(
        lambda _point, _inputs, output: read.append(output)
    )
    with torch.no_grad():
        model(TOKENS[:1], **inputs)
        with steering.apply(model, layer=1, eta=1.0):
            model(TOKENS[:1], **inputs)
    handle.remove()
    return read[-1] - read[0]


def test_inputs_that_coldlens_does_not_give_do_not_get_into_the_displacement(examples):
    model = zoo.bridge("gpt2")
    steering = ColdFD(epsilon=1e-3).fit(model, examples)
    expected = steering.displacement(TOKENS[:1])[1]
    for inputs in ({}, {"token_type_ids": torch.full_like(TOKENS[:1], 3)}):
        found = added(model, steering, **inputs)
        assert torch.nn.functional.cosine_similarity(found, expected, dim=-1).min() > 0.999, inputs
        assert (found - expected).norm() < 0.05 * expected.norm(), inputs


def test_hooks_of_another_bridge_do_not_get_into_the_displacement(examples):
    fitted, other = zoo.bridge("llama", seed=3), zoo.bridge("llama", seed=3)
    steering = ColdFD(epsilon=1e-3).fit(fitted, examples)
    expected = steering.displacement(TOKENS[:1])[1]
    handle = other.hook_dict["blocks.0.hook_resid_post"].register_forward_hook(
        lambda _point, _inputs, output: output + 1.0
    )
    found = added(other, steering)
    handle.remove()
    assert (found - expected).norm() < 0.05 * expected.norm()
