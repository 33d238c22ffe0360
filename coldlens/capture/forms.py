"""The forms of the parameter gradients of one pass: planned before it, filled by it."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture.needs import Needs, Wanted, loss_and_form
from coldlens.examples.batch import pad
from coldlens.examples.example import ExampleSet
from coldlens.examples.tokens import Encoded
from coldlens.gradients import (
    GradientSum,
    LinearMap,
    linear_maps,
    memory_of,
    plan,
    pushforward,
    recognised,
)
from coldlens.losses import sides_of
from coldlens.models.guards import working_dtype
from coldlens.models.parameters import parameters

MEASURED = 4
"""Prompts at which the error of a truncation is measured."""


def gradient_sums(
    model: TransformerBridge,
    layers: tuple[int, ...],
    needs: Needs,
    names: Collection[str],
    examples: ExampleSet,
    encoded: list[Encoded],
) -> dict[Wanted, GradientSum]:
    """Makes room for every parameter gradient that is needed, in its form.

    Args:
        model: The model.
        layers: The layers.
        needs: What will be gathered.
        names: The parameters that the gradients cover.
        examples: The examples.
        encoded: Their tokens.

    Returns:
        Sums at zero, by what is wanted.
    """
    dtype, device = working_dtype(model), next(model.original_model.parameters()).device
    prompts = sorted((example.prompt for example in encoded), key=len)
    known, calls = parameters(model), []
    if any(loss_and_form(wanted)[1].kind != "dense" for wanted in needs.kept):
        calls = recognised(model, torch.tensor([prompts[0]], device=device))
    sizes = {name: known[name].tensor.numel() for name in names}
    pilot, mask = pad(prompts[:: max(1, len(prompts) // MEASURED)][:MEASURED], device=device)

    def measure(direction: Mapping[str, Any]) -> list[Tensor]:
        moved = pushforward(model, direction, pilot, mask, layers)
        return [moved[layer][mask] for layer in layers]

    sums = {}
    for wanted in needs.kept:
        loss, form = loss_and_form(wanted)
        sides = sides_of(loss, examples)
        answers = [len(one.sequence(s)) - len(one.prompt) for one in encoded for s in sides]
        # No loss and no other token reads the last token of a completion.
        tokens = sum(map(len, prompts)) + sum(answers) - len(answers)
        memory = memory_of(calls, sizes, tokens, sum(answers), dtype.itemsize)
        sums[wanted] = GradientSum(plan(form, memory), len(encoded), dtype, measure)
    return sums


def factored_maps(model: TransformerBridge, sums: Iterable[GradientSum]) -> list[LinearMap]:
    """Lists the linear maps whose weights some gradient keeps as outer products.

    Args:
        model: The model.
        sums: The gradients.

    Returns:
        The maps.
    """
    names = {name for total in sums for name in total.plan.factored}
    return [place for name, maps in linear_maps(model).items() if name in names for place in maps]
