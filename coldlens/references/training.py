"""Trained baselines by plain PyTorch loops: one sequence at a time, one step after another.

The order of the examples is an argument: a list of batches, each with the indices of its examples.
Where DPO refers to the model itself, that is the model before the first step.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.examples.tokens import Encoded
from coldlens.losses import DPO
from coldlens.references.forward import run
from coldlens.references.losses import example_loss, log_probability
from coldlens.references.positions import position_indices

Batches = Sequence[Sequence[int]]
Positions = str | tuple[int | None, int | None]
Change = Callable[[Float[Tensor, " d"]], Float[Tensor, " d"]]
"""From the residual stream of one token to what is added to it."""


@contextmanager
def added(
    model: TransformerBridge, layer: int, prompt: int, positions: Positions, change: Change
) -> Iterator[None]:
    """Adds a change to Z_l at chosen tokens of each sequence that runs inside.

    Args:
        model: The model.
        layer: 0-based block.
        prompt: Number of tokens of the prompt.
        positions: Which tokens.
        change: What is added to each of them.

    Yields:
        Nothing.
    """

    def edit(_module: object, _inputs: object, output: Tensor) -> Tensor:
        rows = list(output[0])
        for position in position_indices(positions, prompt, len(rows) - prompt):
            rows[position] = rows[position] + change(rows[position])
        return torch.stack(rows).unsqueeze(0)

    handle = model.hook_dict[f"blocks.{layer}.hook_resid_post"].register_forward_hook(edit)
    try:
        yield
    finally:
        handle.remove()


def reft_vector(
    model: TransformerBridge,
    examples: Sequence[Encoded],
    loss: object,
    layer: int,
    batches: Batches,
    *,
    lr: float,
    positions: Positions = "all",
) -> Float[Tensor, " d"]:
    """Trains a vector added at a layer with `torch.optim.Adam`, from zero.

    Args:
        model: The model; it is frozen.
        examples: Token ids of the examples.
        loss: A loss of the logits with a literal form.
        layer: 0-based block.
        batches: The examples of each step.
        lr: The learning rate.
        positions: Where the vector is added.

    Returns:
        The vector after the last step.
    """
    weights = {"vector": _zeros(model, model.cfg.d_model)}
    losses = anchored_losses(model, examples, loss)
    optimiser = torch.optim.Adam(weights.values(), lr=lr)
    for batch in batches:
        _step(
            model, examples, losses, layer, batch, positions, lambda _: weights["vector"], weights
        )
        optimiser.step()
    return weights["vector"].detach()


def reft_mlp(
    model: TransformerBridge,
    examples: Sequence[Encoded],
    loss: object,
    layer: int,
    batches: Batches,
    start: Mapping[str, Tensor],
    *,
    lr: float,
    positions: Positions = "all",
) -> dict[str, Tensor]:
    """Trains a network W₂ relu(W₁ z + b₁) + b₂ of each token's z = Z_l[s], added to it.

    Args:
        model: The model; it is frozen.
        examples: Token ids of the examples.
        loss: A loss of the logits with a literal form.
        layer: 0-based block.
        batches: The examples of each step.
        start: W₁, b₁, W₂, b₂ as `"hidden"`, `"hidden_bias"`, `"output"`, `"output_bias"`.
        lr: The learning rate of Adam.
        positions: Where the network's output is added.

    Returns:
        The weights after the last step.
    """
    weights = {name: value.detach().clone().requires_grad_() for name, value in start.items()}
    losses = anchored_losses(model, examples, loss)
    optimiser = torch.optim.Adam(weights.values(), lr=lr)
    for batch in batches:
        _step(
            model,
            examples,
            losses,
            layer,
            batch,
            positions,
            lambda token: network(weights, token),
            weights,
        )
        optimiser.step()
    return {name: value.detach() for name, value in weights.items()}


def network(weights: Mapping[str, Tensor], token: Float[Tensor, " d"]) -> Float[Tensor, " d"]:
    """Computes W₂ relu(W₁ z + b₁) + b₂, one unit after another.

    Args:
        weights: As in `reft_mlp`.
        token: z.

    Returns:
        Shape [d_model].
    """
    rows = zip(weights["hidden"], weights["hidden_bias"], strict=True)
    hidden = [torch.clamp((row * token).sum() + bias, min=0) for row, bias in rows]
    total = weights["output_bias"]
    for unit, column in zip(hidden, weights["output"].T, strict=True):
        total = total + unit * column
    return total


def bipo_vector(
    model: TransformerBridge,
    examples: Sequence[Encoded],
    layer: int,
    batches: Batches,
    signs: Sequence[float],
    *,
    beta: float,
    lr: float,
    warmup: int,
) -> Float[Tensor, " d"]:
    """Trains a vector with the bi-directional loss, from zero, added at every token.

    −log σ(dβ [log π(y⁺|x; Z_l+dv) − log π(y⁺|x)] − dβ [the same for y⁻]), Cao et al. 2024, with
    `torch.optim.AdamW` without weight decay, and the learning rate of step t = 0 … T−1 equal to
    lr · t/w up to the step w, then lr · ½ (1 + cos(π (t−w)/(T−w))).

    Args:
        model: The model; it is frozen.
        examples: Token ids of the examples.
        layer: 0-based block.
        batches: The examples of each step.
        signs: d of each step.
        beta: β.
        lr: The highest learning rate.
        warmup: w.

    Returns:
        The vector after the last step.
    """
    with torch.no_grad():
        reference = [_log_probabilities(model, example, "sum") for example in examples]
    vector = _zeros(model, model.cfg.d_model)
    optimiser = torch.optim.AdamW([vector], lr=lr, weight_decay=0.0)
    for step, (batch, sign) in enumerate(zip(batches, signs, strict=True)):
        vector.grad = torch.zeros_like(vector)
        for index in batch:
            example = examples[index]
            with torch.enable_grad():
                with added(model, layer, len(example.prompt), "all", lambda _, d=sign: d * vector):
                    positive, negative = _log_probabilities(model, example, "sum")
                positive = sign * beta * (positive - reference[index][0])
                negative = sign * beta * (negative - reference[index][1])
                value = (1 + (negative - positive).exp()).log()
            vector.grad += torch.autograd.grad(value, vector)[0] / len(batch)
        if step < warmup:
            factor = step / warmup
        else:
            share = (step - warmup) / max(1, len(batches) - warmup)
            factor = (1 + math.cos(math.pi * share)) / 2
        optimiser.param_groups[0]["lr"] = lr * factor
        optimiser.step()
    return vector.detach()


def anchored_losses(
    model: TransformerBridge, examples: Sequence[Encoded], loss: object
) -> list[Callable[[TransformerBridge], Float[Tensor, ""]]]:
    """Gives ℓᵢ as functions of the model, with this model as the reference of DPO for good.

    −log σ(β(m(y⁺) − m(y⁻) − r)) with r a number, where `loss` is `DPO(reference="self")`; the loss
    itself elsewhere.

    Args:
        model: The model before the first step.
        examples: Token ids of the examples.
        loss: A loss of the logits with a literal form.

    Returns:
        For each example, from a model whose parameters or residual stream moved to its loss.
    """
    if type(loss) is not DPO or loss.reference != "self":
        return [lambda moved, e=e: example_loss(moved, e, loss).value for e in examples]

    def margin(of: TransformerBridge, example: Encoded) -> Tensor:
        positive, negative = _log_probabilities(of, example, loss.normalize)
        return positive - negative

    def value(moved: TransformerBridge, example: Encoded, reference: Tensor) -> Tensor:
        return (1 + (-loss.beta * (margin(moved, example) - reference)).exp()).log()

    with torch.no_grad():
        kept = [margin(model, example) for example in examples]
    return [partial(value, example=e, reference=r) for e, r in zip(examples, kept, strict=True)]


def _log_probabilities(
    model: TransformerBridge, example: Encoded, reduction: str
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Returns log π(y⁺|x) and log π(y⁻|x), their sum or mean over the completion."""
    prompt = len(example.prompt)
    positive, negative = (
        log_probability(run(model, ids)[1], prompt, ids[prompt:], reduction)
        for ids in (example.sequence("positive"), example.sequence("negative"))
    )
    return positive, negative


def _step(
    model: TransformerBridge,
    examples: Sequence[Encoded],
    losses: Sequence[Callable[[TransformerBridge], Tensor]],
    layer: int,
    batch: Sequence[int],
    positions: Positions,
    change: Change,
    weights: Mapping[str, Tensor],
) -> None:
    """Leaves the gradient of the batch's mean loss in the `.grad` of the weights."""
    for weight in weights.values():
        weight.grad = torch.zeros_like(weight)
    for index in batch:
        prompt = len(examples[index].prompt)
        with torch.enable_grad(), added(model, layer, prompt, positions, change):
            value = losses[index](model) / len(batch)
        gradients = torch.autograd.grad(value, list(weights.values()))
        for weight, gradient in zip(weights.values(), gradients, strict=True):
            assert weight.grad is not None
            weight.grad += gradient


def _zeros(model: TransformerBridge, width: int) -> Float[Tensor, " d"]:
    first = next(model.original_model.parameters())
    return torch.zeros(width, dtype=first.dtype, device=first.device, requires_grad=True)
