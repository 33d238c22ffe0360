"""Each loss of an example, written out token by token."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.errors import ArgumentError
from coldlens.examples.tokens import Encoded
from coldlens.losses import (
    DPO,
    ContrastiveSquaredError,
    CrossEntropy,
    NegativeCrossEntropy,
    OptionDistribution,
)
from coldlens.references.forward import Streams, run


@dataclass(frozen=True)
class ExampleLoss:
    """The loss of one example, connected to the graph.

    Attributes:
        value: ℓᵢ, a scalar.
        streams: By side (`"positive"`, `"negative"`), the residual streams of the sequences that
            ℓᵢ was computed from.
    """

    value: Float[Tensor, ""]
    streams: dict[str, Streams]


def log_probability(
    logits: Float[Tensor, "pos vocab"], prompt: int, completion: tuple[int, ...], reduction: str
) -> Float[Tensor, ""]:
    """Returns Σ_t log p(y[t] | x, y[<t]), or its mean over t, in nats.

    log p(y[t]) = u[y[t]] − log Σ_v exp u[v], with u the logits one position before y[t].

    Args:
        logits: Logits of x ⊕ y.
        prompt: Number of tokens of x.
        completion: Token ids of y.
        reduction: `"mean"` or `"sum"` over t.

    Returns:
        A scalar.
    """
    total = logits.new_zeros(())
    for offset, token in enumerate(completion):
        scores = logits[prompt + offset - 1]
        largest = scores.max().detach()
        total = total + scores[token] - largest - (scores - largest).exp().sum().log()
    return total / len(completion) if reduction == "mean" else total


def example_loss(
    model: TransformerBridge, example: Encoded, loss: object, layer: int | None = None
) -> ExampleLoss:
    """Computes ℓᵢ(θ) from its definition.

    - `CrossEntropy`: −m(y⁺), m the mean (or sum) of log-probabilities over the completion.
    - `NegativeCrossEntropy`: +m(y⁻).
    - `DPO`: −log σ(β(m(y⁺) − m(y⁻) − r)), Rafailov et al. 2023, equation 7; r = 0 without a
      reference, and with the model as its own reference the same margin from a second forward
      without a graph.
    - `OptionDistribution`: −Σ_k q[k] (u[k] − log Σ_j exp u[j]), u the logits of the options after
      the prompt.
    - `ContrastiveSquaredError`: −½ ‖Z̄_l(x⊕y⁺) − sg(Z̄_l(x⊕y⁻))‖², Z̄ the mean over the answer.

    Args:
        model: The model.
        example: Token ids.
        loss: One of the five, with its settings.
        layer: The layer that `ContrastiveSquaredError` reads.

    Returns:
        The value and the residual streams behind it.

    Raises:
        ArgumentError: If there is no literal form of the loss, or it needs a layer.
    """
    streams: dict[str, Streams] = {}

    def margin(side: str, reduction: str) -> Tensor:
        streams[side], logits = run(model, example.sequence(side))
        completion = example.positive if side == "positive" else example.negative or ()
        return log_probability(logits, len(example.prompt), completion, reduction)

    if isinstance(loss, CrossEntropy):
        return ExampleLoss(-margin("positive", loss.reduction), streams)
    if isinstance(loss, NegativeCrossEntropy):
        return ExampleLoss(margin("negative", loss.reduction), streams)
    if isinstance(loss, DPO):
        reference = torch.zeros(())
        if loss.reference == "self":
            with torch.no_grad():
                reference = margin("positive", loss.normalize) - margin("negative", loss.normalize)
        policy = margin("positive", loss.normalize) - margin("negative", loss.normalize)
        difference = loss.beta * (policy - reference)
        return ExampleLoss((1 + (-difference).exp()).log(), streams)
    if isinstance(loss, OptionDistribution):
        streams["positive"], logits = run(model, example.sequence("positive"))
        return ExampleLoss(_option_distribution(logits[len(example.prompt) - 1], example), streams)
    if isinstance(loss, ContrastiveSquaredError) and layer is not None:
        return _contrastive(model, example, loss.stop_gradient, layer)
    raise ArgumentError(
        expected="a loss with a literal form, and a layer for ContrastiveSquaredError",
        found=f"{loss!r}, layer {layer}",
        fix="Write the loss of a single example out and compare with that",
    )


def _option_distribution(scores: Float[Tensor, " vocab"], example: Encoded) -> Float[Tensor, ""]:
    options, shares = example.options or (), example.distribution or ()
    total = scores.new_zeros(())
    for option in options:
        total = total + scores[option].exp()
    value = scores.new_zeros(())
    for option, share in zip(options, shares, strict=True):
        value = value - share * (scores[option] - total.log())
    return value


def _contrastive(
    model: TransformerBridge, example: Encoded, stop_gradient: bool, layer: int
) -> ExampleLoss:
    streams = {}
    means = {}
    for side in ("positive", "negative"):
        streams[side], _ = run(model, example.sequence(side))
        stream = streams[side][layer]
        total = torch.zeros_like(stream[0])
        answer = range(len(example.prompt), len(stream))
        for position in answer:
            total = total + stream[position]
        means[side] = total / len(answer)
    negative = means["negative"].detach() if stop_gradient else means["negative"]
    value = torch.zeros_like(negative[0])
    for coordinate in range(len(negative)):
        value = value - 0.5 * (means["positive"][coordinate] - negative[coordinate]) ** 2
    return ExampleLoss(value, streams)
