"""The sequences of the examples as padded rows, each token with its activation gradient."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from coldlens.capture.token_gradients import TokenGradients
from coldlens.examples.batch import Side, pad

ROWS_AT_ONCE = 16


@dataclass(frozen=True)
class Rows:
    """Some sequences prompt ⊕ completion, padded on the right.

    Attributes:
        tokens: Token ids.
        attention_mask: True at real tokens.
        prompt_mask: True at the prompts' tokens.
        gradients: ∂ℓᵢ/∂Z_l at each token, zero at padding.
        owners: For each row, the place of its example and the side.
    """

    tokens: Int[Tensor, "row pos"]
    attention_mask: Bool[Tensor, "row pos"]
    prompt_mask: Bool[Tensor, "row pos"]
    gradients: Float[Tensor, "row pos d"]
    owners: tuple[tuple[int, Side], ...]


def rows_of(gradients: Sequence[TokenGradients], layer: int) -> Iterator[Rows]:
    """Pads the sequences of all examples in groups of similar length.

    Args:
        gradients: The sequences and gradients of each example.
        layer: Whose gradients to take.

    Yields:
        Up to 16 rows at once.
    """
    owners: list[tuple[int, Side]] = [
        (place, side) for place, found in enumerate(gradients) for side in found.tokens
    ]
    owners.sort(key=lambda owner: len(gradients[owner[0]].tokens[owner[1]]))
    for start in range(0, len(owners), ROWS_AT_ONCE):
        chosen = owners[start : start + ROWS_AT_ONCE]
        found = [gradients[place].gradients[side][layer] for place, side in chosen]
        device = found[0].device
        tokens, mask = pad([gradients[place].tokens[side] for place, side in chosen], device=device)
        lengths = [[gradients[place].prompt_length] for place, _ in chosen]
        prompt = mask & (mask.cumsum(1) <= torch.tensor(lengths, device=device))
        yield Rows(tokens, mask, prompt, pad_sequence(found, batch_first=True), tuple(chosen))
