"""A gradient in which everything cancels is not returned as a direction."""

import pytest
import torch
import zoo

from coldlens.capture import Needs, collect
from coldlens.directions.noise import require_signal
from coldlens.errors import NumericsError
from coldlens.examples.example import Example, ExampleSet
from coldlens.losses import DPO

LOSS = DPO()
ALIKE = ExampleSet((Example((1, 6, 7), (8,), (9,)), Example((1, 12), (8,), (9,))))


def check(model, loss=LOSS):
    needs = Needs(parameter_gradients=frozenset({loss}))
    evidence = collect(model, ALIKE, (0, 1), needs)
    require_signal(model, evidence, loss, evidence.parameter_gradients[loss])


def alike(dtype, factor):
    """A model that all but confuses two tokens."""
    model = zoo.bridge("llama", dtype=dtype)
    weight = model.original_model.get_output_embeddings().weight
    with torch.no_grad():
        weight[9] = factor * weight[8]
    return model


@pytest.mark.parametrize(("factor", "text"), [(1.0, "norm"), (1 + 2e-7, "off by .* from float64")])
def test_completions_that_are_alike_to_the_model(factor, text):
    with pytest.raises(NumericsError, match=rf"found {text}|{text}"):
        check(alike(torch.float32, factor))


def test_float64_resolves_what_float32_does_not():
    check(alike(torch.float64, 1 + 2e-7))


def test_a_small_gradient_is_not_noise():
    def small(logits, batch):
        return 1e-9 * LOSS(logits, batch)

    check(zoo.bridge("llama"), small)
    check(zoo.bridge("llama"))
