"""Greedy generation from token ids."""

from collections.abc import Sequence

import torch
from transformer_lens.model_bridge import TransformerBridge

from coldlens.errors import ArgumentError
from coldlens.models.offload import device_of


def require_room(
    model: TransformerBridge, prompts: Sequence[Sequence[int]], max_new_tokens: int
) -> None:
    """Checks that the model's context holds the prompts and their answers but for the last token.

    The last token of an answer is never read back.

    Args:
        model: The model.
        prompts: Token ids of each, none longer than the context.
        max_new_tokens: Length of the answers.

    Raises:
        ArgumentError: If the longest prompt and its answer are longer by more than one token.
    """
    context, longest = model.cfg.n_ctx, max(map(len, prompts))
    room = context - longest + 1
    if max_new_tokens > room:
        raise ArgumentError(
            expected=f"prompts and answers, but for the last token, of at most {context} tokens, "
            "the model's context",
            found=f"a prompt of {longest} tokens and max_new_tokens = {max_new_tokens}",
            fix=f"Ask for max_new_tokens <= {room}, or shorten the prompts",
        )


def answer(model: TransformerBridge, prompt: Sequence[int], max_new_tokens: int) -> list[int]:
    """Continues a prompt with the most probable tokens.

    Args:
        model: The model, inside a `with steering.apply(…)` block or not.
        prompt: Token ids.
        max_new_tokens: Length of the answer; the end-of-text token may end it earlier.

    Returns:
        The ids of the answer.
    """
    device = device_of(model.original_model)
    made = model.generate(
        torch.tensor([list(prompt)], device=device),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        return_type="tokens",
        verbose=False,
    )
    assert isinstance(made, torch.Tensor)
    return made[0, len(prompt) :].tolist()


def text_of(model: TransformerBridge, ids: Sequence[int]) -> str:
    """Returns the text of token ids, without special tokens.

    Args:
        model: The model, for its tokenizer.
        ids: Token ids.

    Returns:
        The text.
    """
    assert model.tokenizer is not None
    return str(model.tokenizer.decode(list(ids), skip_special_tokens=True))
