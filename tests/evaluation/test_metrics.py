"""Every metric equals a literal loop over single questions on the Hugging Face model."""

import numpy as np
import pytest
import torch
import zoo
from evaluation.conftest import bridge_of, letters_of, plain, steering_of, texts_of
from evaluation.literal import bridged, hugging_face, measured

from coldlens.evaluation import evaluate
from coldlens.examples.tokens import encode

SINGLE, EXACT = 1e-5, 1e-10
"""Absolute, on probabilities and log-probabilities: float32 and float64."""

ETA = 0.7
POSITIONS = ("prompt", "last_prompt", "all", (-2, None), (0, 1))
BATCHES = (1, 3, 99, 3, 2)
CASES = [
    *(("llama", *pair) for pair in zip(POSITIONS, BATCHES, strict=True)),
    *zip(("gemma2", "gpt2", "neox", "demo", "phi3"), POSITIONS, BATCHES[::-1], strict=True),
]


def compare(forward, model, examples, metrics, bound, *, layer=1, **settings):
    steering = steering_of(model, examples)
    found = evaluate(model, examples, steering, layer, ETA, metrics=metrics, **settings).table
    assert list(found.question) == list(range(len(examples)))
    vectors = {layer: steering.vector(layer)}
    names = [
        name
        for name in found.select_dtypes("number")
        if name != "question" and not name.startswith("unsteered_")
    ]
    assert names
    for row, question in zip(found.itertuples(), encode(model, examples), strict=True):
        for eta, prefix in ((ETA, ""), (0.0, "unsteered_")):
            expected = measured(forward, question, vectors, eta, settings["positions"])
            for name in names:
                got, want = getattr(row, prefix + name), expected[name]
                size = max(1.0, abs(want))
                assert abs(got - want) <= bound * size, f"{prefix}{name}: {got!r} and {want!r}"
    return max(np.abs(found[name] - found["unsteered_" + name]).max() for name in names)


@pytest.mark.parametrize(("name", "positions", "batch_size"), CASES)
def test_float32_equals_hugging_face(name, positions, batch_size):
    model, forward = bridge_of(name), hugging_face(plain(name))
    settings = {"positions": positions, "batch_size": batch_size}
    letters = ["choice", "kl"] + (["distribution"] if name != "demo" else [])
    compare(forward, model, letters_of(name), letters, SINGLE, **settings)
    texts = ["preference", "perplexity"]
    assert compare(forward, model, texts_of(name), texts, SINGLE, **settings) > 1e-4


@pytest.mark.parametrize("name", [*zoo.CONFIGS, "demo"])
def test_float64_is_exact(name):
    model = bridge_of(name, torch.float64)
    for positions, batch_size in (("prompt", 2), ("all", 99)):
        settings = {"positions": positions, "batch_size": batch_size}
        metrics = ["choice", "kl", "perplexity"] + (["distribution"] if name != "demo" else [])
        compare(bridged(model), model, letters_of(name), metrics, EXACT, **settings)
        compare(bridged(model), model, texts_of(name), ["preference"], EXACT, **settings)


@pytest.mark.parametrize("positions", ["generated", "first_generated"])
def test_a_completion_counts_as_generated(positions):
    model = bridge_of("llama", torch.float64)
    moved = compare(
        bridged(model), model, texts_of("llama"), ["preference"], EXACT, positions=positions
    )
    assert moved > 1e-4


@pytest.mark.parametrize("layer", [0, 2])
def test_first_and_last_layer(layer):
    model = bridge_of("qwen3", torch.float64)
    settings = {"positions": "prompt", "layer": layer}
    assert compare(bridged(model), model, letters_of("qwen3"), ["choice"], EXACT, **settings) > 1e-4


def test_the_literal_loop_can_fail():
    model = bridge_of("llama", torch.float64)
    shifted = bridged(model)

    def wrong(ids, edits):
        return shifted(ids, {layer + 1: edit for layer, edit in edits.items()})

    with pytest.raises(AssertionError, match=r"p_positive|correct|kl"):
        compare(wrong, model, letters_of("llama"), ["choice"], EXACT, positions="prompt")


def test_eta_zero_changes_nothing():
    model = bridge_of("llama", torch.float64)
    steering = steering_of(model, letters_of("llama"))
    table = evaluate(model, letters_of("llama"), steering, 1, 0, metrics=["choice", "kl"]).table
    assert table.kl.max() < EXACT
    assert np.allclose(table.probability, table.unsteered_probability, atol=EXACT)


def test_a_poll_whose_option_is_zero_has_a_finite_divergence():
    model = bridge_of("llama")
    table = evaluate(model, letters_of("llama"), metrics=["distribution"]).table
    assert np.isfinite(table.kl_from_group).all()
    assert table.total_variation.between(0, 1).all()
