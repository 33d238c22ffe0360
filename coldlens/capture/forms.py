"""The forms of the parameter gradients of one pass: planned before it, filled by it."""

from collections.abc import Collection, Mapping
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
    Memory,
    linear_maps,
    memory_of,
    pushforward,
    recognised,
)
from coldlens.gradients.form import Plan
from coldlens.losses import sides_of
from coldlens.models.guards import working_dtype
from coldlens.models.offload import device_of
from coldlens.models.parameters import parameters

MEASURED = 4
"""Prompts at which the error of a truncation is measured."""
RECOGNISED = 8
"""Tokens that tell which weights act through linear maps alone."""


def gradient_memories(
    model: TransformerBridge,
    needs: Needs,
    names: Collection[str],
    examples: ExampleSet,
    encoded: list[Encoded],
) -> dict[Wanted, Memory]:
    """Says what every parameter gradient that is needed would occupy in each form.

    Args:
        model: The model.
        needs: What will be gathered.
        names: The parameters that the gradients cover.
        examples: The examples.
        encoded: Their tokens.

    Returns:
        The memory, by what is wanted.
    """
    dtype, device = working_dtype(model), device_of(model.original_model)
    prompts = [example.prompt for example in encoded]
    known, calls = parameters(model), []
    if any(loss_and_form(wanted)[1].kind != "dense" for wanted in needs.kept):
        short = min(prompts, key=len)[:RECOGNISED]
        calls = recognised(model, torch.tensor([short], device=device))
    sizes = {name: known[name].tensor.numel() for name in names}
    memories = {}
    for wanted in needs.kept:
        sides = sides_of(loss_and_form(wanted)[0], examples)
        answers = [len(one.sequence(s)) - len(one.prompt) for one in encoded for s in sides]
        # No loss and no other token reads the last token of a completion.
        tokens = sum(map(len, prompts)) + sum(answers) - len(answers)
        memories[wanted] = memory_of(calls, sizes, tokens, sum(answers), dtype.itemsize)
    return memories


def gradient_sums(
    model: TransformerBridge,
    layers: tuple[int, ...],
    plans: Mapping[Wanted, Plan],
    encoded: list[Encoded],
    rows: int = MEASURED,
    kind: type[GradientSum] = GradientSum,
) -> dict[Wanted, GradientSum]:
    """Makes room for every parameter gradient that is needed, in its form.

    Args:
        model: The model.
        layers: The layers.
        plans: The form of each gradient.
        encoded: Tokens of the examples.
        rows: Prompts that are read at once where the error of a truncation is measured.
        kind: What adds batches up.

    Returns:
        Sums at zero, by what is wanted.
    """
    device = device_of(model.original_model)
    prompts = sorted((example.prompt for example in encoded), key=len)
    read = prompts[:: max(1, len(prompts) // MEASURED)][:MEASURED]
    padded = [pad(read[start : start + rows], device=device) for start in range(0, len(read), rows)]

    def measure(direction: Mapping[str, Any]) -> list[Tensor]:
        moved = [
            [found[layer][mask] for layer in layers]
            for ids, mask in padded
            for found in [pushforward(model, direction, ids, mask, layers)]
        ]
        return [torch.cat(parts) for parts in zip(*moved, strict=True)]

    return {
        wanted: kind(chosen, len(encoded), working_dtype(model), measure)
        for wanted, chosen in plans.items()
    }


def factored_maps(model: TransformerBridge, names: Collection[str]) -> list[LinearMap]:
    """Lists the linear maps whose weights some gradient keeps as outer products.

    Args:
        model: The model.
        names: The weights.

    Returns:
        The maps.
    """
    known = linear_maps(parameters(model))
    return [place for name, maps in known.items() if name in names for place in maps]
