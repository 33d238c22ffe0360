"""Padded batches of tokenised examples, and of prompts."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from coldlens.errors import ExampleError
from coldlens.examples.tokens import Encoded, Ids

Side = Literal["positive", "negative"]
BOTH: tuple[Side, ...] = ("positive", "negative")
PaddingSide = Literal["right", "left"]

PILOT_PROMPTS = 8
PILOT_TOKENS = 64
"""The most that a pilot reads."""


@dataclass(frozen=True)
class Batch:
    """Rows of prompt ⊕ completion: all the first side's rows, then all the second side's.

    Attributes:
        tokens: Token ids, 0 at padding.
        attention_mask: True at real tokens.
        prompt_mask: True at the prompt's tokens.
        answer_mask: True at the completion's tokens.
        sides: Which completions the rows hold, in order.
        index: For each example of the batch, its place in the example set.
        option_ids: The token of each option, 0 at padding; None unless every example has options.
        option_mask: True at real options, or None.
        distribution: The probability of each option, float64, 0 at padding, or None.
    """

    tokens: Int[Tensor, "row pos"]
    attention_mask: Bool[Tensor, "row pos"]
    prompt_mask: Bool[Tensor, "row pos"]
    answer_mask: Bool[Tensor, "row pos"]
    sides: tuple[Side, ...]
    index: tuple[int, ...]
    option_ids: Int[Tensor, "example option"] | None = None
    option_mask: Bool[Tensor, "example option"] | None = None
    distribution: Float[Tensor, "example option"] | None = None

    @property
    def size(self) -> int:
        """The number of examples (rows / sides)."""
        return len(self.index)

    @property
    def predicting(self) -> Bool[Tensor, "row pos"]:
        """True at the tokens whose logits predict a token of the completion."""
        return self.answer_mask.roll(-1, dims=1)

    def rows(self, side: Side) -> slice:
        """Returns the rows that hold one side, in the order of `index`.

        Args:
            side: `"positive"` or `"negative"`, one of `sides`.

        Returns:
            A slice of rows.

        Raises:
            ExampleError: If the batch has no rows of that side.
        """
        if side not in self.sides:
            raise ExampleError(
                expected=f"a batch with {side} completions",
                found=f"only {', '.join(self.sides)} ones",
                fix="Give every example a negative completion, or use a loss that needs none",
            )
        start = self.sides.index(side) * self.size
        return slice(start, start + self.size)


def tail(batch: Batch) -> tuple[Bool[Tensor, "row pos"], Batch]:
    """Cuts all of the prompts off but their last tokens, which predict what follows.

    Args:
        batch: A batch.

    Returns:
        True at the tokens that are left, and the batch of these alone, padded on the right.
    """
    to_come = batch.prompt_mask.flip(1).cumsum(1).flip(1)
    left = batch.answer_mask | (batch.prompt_mask & (to_come == 1))
    counts = left.sum(1, keepdim=True)
    real = torch.arange(int(counts.max()), device=left.device) < counts

    def cut(values: Tensor) -> Tensor:
        return torch.zeros_like(real, dtype=values.dtype).masked_scatter(real, values[left])

    return left, replace(
        batch,
        tokens=cut(batch.tokens),
        attention_mask=real,
        prompt_mask=cut(batch.prompt_mask),
        answer_mask=cut(batch.answer_mask),
    )


def pad(
    sequences: Sequence[Ids], *, side: PaddingSide = "right", device: torch.device | str = "cpu"
) -> tuple[Int[Tensor, "row pos"], Bool[Tensor, "row pos"]]:
    """Pads token ids to one length.

    Args:
        sequences: Token ids of different lengths.
        side: Where the padding goes.
        device: Where the tensors live.

    Returns:
        Tokens (0 at padding) and the mask of real tokens.
    """
    width = max(map(len, sequences))
    tokens = torch.zeros(len(sequences), width, dtype=torch.long)
    mask = torch.zeros(len(sequences), width, dtype=torch.bool)
    for row, ids in enumerate(sequences):
        start = 0 if side == "right" else width - len(ids)
        tokens[row, start : start + len(ids)] = torch.tensor(ids)
        mask[row, start : start + len(ids)] = True
    return tokens.to(device), mask.to(device)


def pilot(prompts: Sequence[Ids]) -> list[Ids]:
    """Returns what a pilot reads: the first prompts, the last of them cut, 64 tokens in all."""
    before = itertools.accumulate((len(ids) for ids in prompts), initial=0)
    first = zip(prompts[:PILOT_PROMPTS], before, strict=False)
    return [ids[: PILOT_TOKENS - start] for ids, start in first if start < PILOT_TOKENS]


def batch_of(
    encoded: Sequence[Encoded],
    index: Sequence[int],
    sides: Sequence[Side],
    *,
    padding_side: PaddingSide = "right",
    device: torch.device | str = "cpu",
) -> Batch:
    """Builds one batch.

    Args:
        encoded: All examples of the set.
        index: Which of them the batch holds.
        sides: Which completions.
        padding_side: Where the padding goes.
        device: Where the tensors live.

    Returns:
        The batch.
    """
    chosen = [(encoded[i], side) for side in sides for i in index]
    tokens, mask = pad([e.sequence(side) for e, side in chosen], side=padding_side, device=device)
    order = mask.cumsum(1)
    prompt_lengths = torch.tensor([[len(e.prompt)] for e, _ in chosen], device=device)
    prompt = mask & (order <= prompt_lengths)
    options, option_mask, distribution = _options([encoded[i] for i in index], device)
    return Batch(
        tokens=tokens,
        attention_mask=mask,
        prompt_mask=prompt,
        answer_mask=mask & ~prompt,
        sides=tuple(sides),
        index=tuple(index),
        option_ids=options,
        option_mask=option_mask,
        distribution=distribution,
    )


def _options(
    chosen: Sequence[Encoded], device: torch.device | str
) -> tuple[Tensor, Tensor, Tensor] | tuple[None, None, None]:
    options = [example.options for example in chosen if example.options is not None]
    shares = [example.distribution for example in chosen if example.distribution is not None]
    if not options or len(options) < len(chosen):
        return None, None, None
    ids, mask = pad(options, device=device)
    distribution = torch.zeros(mask.shape, dtype=torch.float64, device=device)
    distribution[mask] = torch.tensor(
        [q for row in shares for q in row], dtype=torch.float64, device=device
    )
    return ids, mask, distribution


def batches(
    encoded: Sequence[Encoded],
    sides: Sequence[Side],
    batch_size: int,
    *,
    device: torch.device | str = "cpu",
) -> Iterator[Batch]:
    """Cuts examples into batches of similar length, so that little is padding.

    Args:
        encoded: The examples.
        sides: Which completions each batch holds.
        batch_size: Examples a batch; rows are this times the number of sides.
        device: Where the tensors live.

    Yields:
        Batches; `Batch.index` says which examples.
    """
    order = sorted(
        range(len(encoded)), key=lambda i: max(len(encoded[i].sequence(side)) for side in sides)
    )
    for start in range(0, len(order), batch_size):
        index = order[start : start + batch_size]
        yield batch_of(encoded, index, sides, device=device)
