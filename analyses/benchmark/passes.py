"""Plain passes of batches, through the bridge and through Hugging Face's model alone."""

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from analyses.benchmark.subject import Subject
from coldlens.examples.batch import Batch
from coldlens.losses import Loss

Logits = Callable[[Tensor, Tensor], Tensor]
"""From token ids [row pos] and the mask of real tokens to logits [row pos vocab]."""


def bridge(subject: Subject) -> Logits:
    """Returns the forward pass of the bridge."""
    return lambda tokens, mask: subject.model(
        tokens, attention_mask=mask, return_type="logits", use_cache=False
    )


def network(subject: Subject) -> Logits:
    """Returns the forward pass of the Hugging Face model."""
    return lambda tokens, mask: subject.network(tokens, attention_mask=mask, use_cache=False).logits


@torch.no_grad()
def forward(logits: Logits, batches: Iterable[Batch]) -> None:
    """Runs batches.

    Args:
        logits: The forward pass.
        batches: The batches.
    """
    for batch in batches:
        logits(batch.tokens, batch.attention_mask)


def backward(logits: Logits, owner: nn.Module, loss: Loss, batches: Iterable[Batch]) -> None:
    """Runs batches forward and backward, as for a step of training.

    Args:
        logits: The forward pass.
        owner: The module whose parameters it differentiates; their `.grad` are None afterwards.
        loss: The loss of each example.
        batches: The batches.
    """
    for batch in batches:
        loss(logits(batch.tokens, batch.attention_mask), batch).sum().backward()
    owner.zero_grad()


@torch.no_grad()
def choices(subject: Subject) -> Float[Tensor, " question"]:
    """Reads the questions' prompts through the bridge, as it is steered at the time.

    Args:
        subject: What is measured on.

    Returns:
        p⁺ / (p⁺ + p⁻) of the questions, in the order of `subject.asked`.
    """
    read, found = bridge(subject), []
    for tokens, mask in subject.prompts():
        found.append(read(tokens, mask)[torch.arange(len(tokens)), mask.sum(1) - 1])
    return probability(subject, torch.cat(found))


def probability(
    subject: Subject, logits: Float[Tensor, "question vocab"]
) -> Float[Tensor, " question"]:
    """Compares the two answers.

    Args:
        subject: What is measured on.
        logits: The logits after the prompts, in the order of `subject.asked`.

    Returns:
        p⁺ / (p⁺ + p⁻).
    """
    ids = torch.tensor([[*one.positive, *(one.negative or ())] for one in subject.asked])
    positive, negative = logits.gather(1, ids).unbind(1)
    return (positive - negative).sigmoid()
