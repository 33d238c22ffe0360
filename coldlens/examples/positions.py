"""Selections of positions: from a name or a window to a boolean mask that can be printed."""

from collections.abc import Iterable
from typing import Literal, get_args

import torch
from jaxtyping import Bool
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.checks import at_least
from coldlens.errors import ExampleError
from coldlens.examples.batch import batch_of
from coldlens.examples.example import Example, ExampleSet
from coldlens.examples.tokens import encode

PositionName = Literal[
    "last_prompt", "prompt", "answer", "last_answer", "all", "generated", "first_generated"
]
Window = tuple[int | None, int | None]
Positions = str | Window
"""A name, or a half-open window (start, stop) over the prompt; negative from the prompt's end."""

NAMES: tuple[str, ...] = get_args(PositionName)
_WHILE_GENERATING = ("generated", "first_generated")


def check_positions(positions: Positions, *, generating: bool = False) -> None:
    """Checks a selection before any work starts.

    Args:
        positions: The selection.
        generating: Whether `generated` and `first_generated` mean something here; if so,
            `answer` and `last_answer` do not.

    Raises:
        ExampleError: If the name is unknown or the window is not a pair.
    """
    absent = ("answer", "last_answer") if generating else _WHILE_GENERATING
    known = [name for name in NAMES if name not in absent]
    if isinstance(positions, str) and positions not in known:
        raise ExampleError(
            expected=f"positions among {', '.join(known)}, or a window (start, stop) of the prompt",
            found=repr(positions),
            fix="Generated positions exist only while steering, answer positions only in examples",
        )
    if isinstance(positions, str):
        return
    pair = isinstance(positions, tuple) and len(positions) == 2
    if not pair or not all(bound is None or isinstance(bound, int) for bound in positions):
        raise ExampleError(
            expected="a window (start, stop) of two integers or None",
            found=repr(positions),
            fix="(-3, None) selects the last three tokens of the prompt",
        )


def select(
    positions: Positions,
    prompt_mask: Bool[Tensor, "row pos"],
    answer_mask: Bool[Tensor, "row pos"],
) -> Bool[Tensor, "row pos"]:
    """Resolves a selection to a mask.

    Args:
        positions: The selection.
        prompt_mask: True at prompt tokens.
        answer_mask: True at completion tokens.

    Returns:
        True at the selected tokens; never at padding.

    Raises:
        ExampleError: If the selection is unknown or empty in some row.
    """
    check_positions(positions)
    if isinstance(positions, tuple):
        mask = _window(positions, prompt_mask)
    elif positions == "last_prompt":
        mask = _last(prompt_mask)
    elif positions == "prompt":
        mask = prompt_mask
    elif positions == "answer":
        mask = answer_mask
    elif positions == "last_answer":
        mask = _last(answer_mask)
    else:
        mask = prompt_mask | answer_mask
    empty = (~mask.any(1)).nonzero().flatten().tolist()
    if empty:
        raise ExampleError(
            expected=f"positions {positions!r} to select a token in every row",
            found=f"none in row {empty[0]}, whose prompt has {int(prompt_mask[empty[0]].sum())} "
            "tokens",
            fix="Choose a window inside the prompt, or a named selection",
        )
    return mask


def show_positions(
    model: TransformerBridge,
    examples: ExampleSet | Iterable[Example],
    positions: Positions,
    n: int = 3,
) -> str:
    """Prints a selection against the tokens: selected ones stand in «».

    Args:
        model: The model, for its tokenizer.
        examples: The examples.
        positions: The selection.
        n: How many examples to show.

    Returns:
        A line an example and side.
    """
    at_least(1, "n", n)
    lines = []
    encoded = encode(model, ExampleSet.of(examples)[:n])
    for index, example in enumerate(encoded):
        for side in ("positive", "negative"):
            if side == "negative" and example.negative is None:
                continue
            batch = batch_of(encoded, [index], [side])
            mask = select(positions, batch.prompt_mask, batch.answer_mask)[0].tolist()
            words = token_texts(model, batch.tokens[0].tolist())
            shown = [
                f"«{word}»" if chosen else word for word, chosen in zip(words, mask, strict=True)
            ]
            lines.append(f"{index} {side}: {' '.join(shown)}")
    return "\n".join(lines)


def token_texts(model: TransformerBridge, tokens: Iterable[int]) -> list[str]:
    """Returns the text of each token.

    Args:
        model: The model, for its tokenizer.
        tokens: Token ids.

    Returns:
        One string a token; where it would be blank, its number.
    """
    tokenizer = model.tokenizer
    assert tokenizer is not None
    return [tokenizer.decode([token]).strip() or repr(token) for token in tokens]


def _last(mask: Bool[Tensor, "row pos"]) -> Bool[Tensor, "row pos"]:
    order = mask.cumsum(1)
    return mask & (order == order[:, -1:])


def _window(window: Window, prompt_mask: Bool[Tensor, "row pos"]) -> Bool[Tensor, "row pos"]:
    lengths = prompt_mask.sum(1, keepdim=True)
    order = prompt_mask.cumsum(1) - 1

    def bound(value: int | None, default: Tensor) -> Tensor:
        if value is None:
            return default
        return lengths + value if value < 0 else torch.full_like(lengths, value)

    start = bound(window[0], torch.zeros_like(lengths))
    stop = bound(window[1], lengths)
    return prompt_mask & (order >= start) & (order < stop)
