"""From text to token ids, with an exact boundary between prompt and completion."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.errors import ExampleError, ExampleTypeError
from coldlens.examples.example import Example, ExampleSet, Text, TokenPolicy, as_text
from coldlens.models.guards import require_bridge

Ids = tuple[int, ...]


class BoundaryWarning(UserWarning):
    """A completion would change the prompt's last token if the two were tokenised as one."""


@dataclass(frozen=True)
class Encoded:
    """The token ids of one example, as they enter the model.

    Attributes:
        prompt: Ids of the prompt, BOS or chat template included.
        positive: Ids of the completion that shows the behaviour.
        negative: Ids of the other completion, or None.
        options: The token of each option, or None.
        distribution: The probability of each option, or None.
    """

    prompt: Ids
    positive: Ids
    negative: Ids | None
    options: Ids | None = None
    distribution: tuple[float, ...] | None = None

    def sequence(self, side: str) -> Ids:
        """Returns prompt ⊕ completion.

        Args:
            side: `"positive"` or `"negative"`.

        Returns:
            The ids.
        """
        completion = self.positive if side == "positive" else self.negative
        assert completion is not None
        return self.prompt + completion


def encode(model: TransformerBridge, examples: ExampleSet) -> list[Encoded]:
    """Tokenises a set of examples for a model.

    The completion of a string is what follows the prompt's own tokens when both are tokenised as
    one text. Where that would change the prompt's last token, the two are tokenised apart, so the
    boundary is exact, and a `BoundaryWarning` names the examples.

    Args:
        model: The model, for its tokenizer and context length.
        examples: The examples and their token policy.

    Returns:
        One `Encoded` an example, in order.

    Raises:
        ExampleError: If an example is longer than the model's context, has an unknown token id or
            no token, two completions that are the same tokens, options that are not one token
            each or the same token, or the policy does not fit the tokenizer.
    """
    require_bridge(model)
    changed: list[int] = []
    encoded = []
    for index, example in enumerate(examples):
        encoded.append(_encode_one(model, example, examples.policy, index, changed))
    if changed:
        shown = ", ".join(map(str, changed[:5])) + (", …" if len(changed) > 5 else "")
        warnings.warn(
            f"{len(changed)} of {len(examples)} examples of {examples.name!r} (index {shown}) have "
            "a completion that changes the prompt's last token when both are tokenised as one "
            "text; prompt and completion were tokenised apart. Move the space between them to the "
            "start of the completion if that is not meant.",
            BoundaryWarning,
            stacklevel=2,
        )
    return encoded


def encode_prompts(
    model: TransformerBridge, prompts: Sequence[str | Sequence[int]], policy: TokenPolicy
) -> list[Ids]:
    """Tokenises prompts alone, under the same policy as examples.

    Args:
        model: The model.
        prompts: Strings, or token ids that are used as they are.
        policy: How strings become tokens.

    Returns:
        Token ids, one tuple a prompt.

    Raises:
        ExampleError: If there is no prompt, or one is empty or longer than the context.
    """
    if isinstance(prompts, str | Tensor) or not isinstance(prompts, Sequence) or not prompts:
        raise ExampleError(
            expected="a list of at least one prompt",
            found=type(prompts).__name__ if isinstance(prompts, Tensor) else repr(prompts),
            fix="Pass a list of strings or of sequences of token ids, such as tokens.tolist()",
        )
    known = [as_text(prompt, f"prompt {index}") for index, prompt in enumerate(prompts)]
    ids = [_prompt_ids(model, prompt, policy) for prompt in known]
    for index, prompt in enumerate(ids):
        check_ids(model, prompt, f"prompt {index}")
    return ids


def _encode_one(
    model: TransformerBridge, example: Example, policy: TokenPolicy, index: int, changed: list[int]
) -> Encoded:
    prompt = _prompt_ids(model, example.prompt, policy)

    def completion(text: Text, side: str) -> Ids:
        ids, exact = _completion_ids(model, example.prompt, prompt, text, policy)
        if not exact and index not in changed:
            changed.append(index)
        check_ids(model, ids, f"the {side} completion of example {index}")
        check_ids(model, prompt + ids, f"example {index} ({side})")
        return ids

    positive = completion(example.positive, "positive")
    negative = None if example.negative is None else completion(example.negative, "negative")
    options = None
    if example.options is not None:
        found = [completion(option, "option") for option in example.options]
        options = _single_tokens(model, example.options, found, index)
    if positive == negative:
        raise ExampleError(
            expected="a positive and a negative completion that differ",
            found=f"the same tokens in example {index}: "
            f"{_shown(model, example.positive, list(positive))}",
            fix="Drop the example, or use words that the model's tokenizer tells apart",
        )
    return Encoded(prompt, positive, negative, options, example.distribution)


def _single_tokens(
    model: TransformerBridge, options: Sequence[Text], found: Sequence[Ids], index: int
) -> Ids:
    first: dict[int, Text] = {}
    for option, (token, *more) in zip(options, found, strict=True):
        if more:
            raise ExampleError(
                expected="each option to be one token after the prompt",
                found=f"{option!r} in example {index}, which is {1 + len(more)} tokens: "
                f"{_shown(model, option, [token, *more])}",
                fix="Let the prompt list the options by letters and end with an open parenthesis, "
                "and give the letters as options",
            )
        if token in first:
            raise ExampleError(
                expected="options with different tokens",
                found=f"{first[token]!r} and {option!r} in example {index}, which are both "
                f"{_shown(model, option, [token])}",
                fix="Leave one of them out, or let letters stand for the options",
            )
        first[token] = option
    return tuple(first)


def _shown(model: TransformerBridge, option: Text, ids: list[int]) -> list[Any]:
    tokenizer: Any = model.tokenizer
    return tokenizer.convert_ids_to_tokens(ids) if isinstance(option, str) else ids


def _prompt_ids(model: TransformerBridge, prompt: Text, policy: TokenPolicy) -> Ids:
    if not isinstance(prompt, str):
        return prompt
    tokenizer: Any = model.tokenizer
    text = _prompt_text(tokenizer, prompt, policy)
    ids = _plain_ids(tokenizer, text)
    bos = tokenizer.bos_token_id
    if policy.chat_template or policy.bos == "never" or ids[:1] == (bos,):
        return ids
    if bos is None and policy.bos == "always":
        raise ExampleError(
            expected='a tokenizer with a BOS token for bos="always"',
            found="a tokenizer without one",
            fix='Use TokenPolicy(bos="auto")',
        )
    wanted = policy.bos == "always" or model.cfg.default_prepend_bos
    return (bos, *ids) if wanted and bos is not None else ids


def _prompt_text(tokenizer: Any, prompt: str, policy: TokenPolicy) -> str:
    if not policy.chat_template:
        return prompt
    if not getattr(tokenizer, "chat_template", None):
        raise ExampleError(
            expected="a tokenizer with a chat template",
            found="a tokenizer without one",
            fix="Use a chat model, or a prompt format other than 'chat'",
        )
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
    )
    return rendered + policy.answer_prefix


def _completion_ids(
    model: TransformerBridge, prompt: Text, prompt_ids: Ids, completion: Text, policy: TokenPolicy
) -> tuple[Ids, bool]:
    if not isinstance(completion, str):
        return completion, True
    tokenizer: Any = model.tokenizer
    if not isinstance(prompt, str):
        return _continuation_ids(tokenizer, completion), True
    text = _prompt_text(tokenizer, prompt, policy)
    alone = _plain_ids(tokenizer, text)
    joint = _plain_ids(tokenizer, text + completion)
    if joint[: len(alone)] == alone and len(joint) > len(alone):
        return joint[len(alone) :], True
    return _continuation_ids(tokenizer, completion), False


def _continuation_ids(tokenizer: Any, text: str) -> Ids:
    # Behind a line break, since SentencePiece puts a space before the first word of a text.
    head, both = _plain_ids(tokenizer, "\n"), _plain_ids(tokenizer, "\n" + text)
    if head and both[: len(head)] == head:
        return both[len(head) :]
    return _plain_ids(tokenizer, text)


def _plain_ids(tokenizer: Any, text: str) -> Ids:
    return tuple(tokenizer(text, add_special_tokens=False).input_ids)


def check_ids(model: TransformerBridge, ids: Ids, what: str) -> None:
    """Checks that a model can read a sequence of token ids.

    Args:
        model: The model, for its context length and vocabulary.
        ids: The ids.
        what: What they are, for the message.

    Raises:
        ExampleError: If there is none, there are too many, or one is not in the vocabulary.
    """
    context, vocabulary = model.cfg.n_ctx, model.cfg.d_vocab
    if not ids:
        raise ExampleError(
            expected=f"at least one token in {what}",
            found="none after tokenisation",
            fix="Check the text and the tokenizer",
        )
    if len(ids) > context:
        raise ExampleError(
            expected=f"at most {context} tokens, the model's context",
            found=f"{len(ids)} tokens in {what}",
            fix="Shorten or drop it: coldlens never truncates",
        )
    if not all(0 <= token < vocabulary for token in ids):
        raise ExampleError(
            expected=f"token ids between 0 and {vocabulary - 1}",
            found=f"{min(ids)} to {max(ids)} in {what}",
            fix="Check that the ids belong to this model's tokenizer",
        )


def real_tokens(
    model: TransformerBridge, tokens: Tensor, attention_mask: Any = None
) -> Bool[Tensor, "row pos"]:
    """Checks that a model can read a padded batch of token ids.

    Args:
        model: The model.
        tokens: The ids.
        attention_mask: True (1) at real tokens; None if all are.

    Returns:
        True at real tokens.

    Raises:
        ExampleTypeError: If the ids are no integers, or the mask is no tensor.
        ExampleError: If there is no token, the mask has another shape, a row is padding alone, or
            `check_ids` objects.
    """
    if tokens.dtype.is_floating_point or tokens.dtype.is_complex or tokens.dtype == torch.bool:
        raise ExampleTypeError(
            expected="token ids, a tensor of integers",
            found=f"a tensor of dtype {tokens.dtype}",
            fix="Pass token ids, not masks, embeddings or logits",
        )
    if tokens.numel() == 0 or tokens.ndim != 2:
        raise ExampleError(
            expected="token ids of shape [row, pos] with at least one token",
            found=f"a tensor of shape {tuple(tokens.shape)}",
            fix="Pass token ids, one row a prompt",
        )
    mask = torch.ones_like(tokens) if attention_mask is None else attention_mask
    if not isinstance(mask, Tensor):
        raise ExampleTypeError(
            expected="an attention mask that is a tensor",
            found=type(mask).__name__,
            fix="Pass one entry a token, as a tokenizer returns it with return_tensors='pt'",
        )
    if mask.shape != tokens.shape:
        raise ExampleError(
            expected=f"an attention mask of the tokens' shape {tuple(tokens.shape)}",
            found=f"a mask of shape {tuple(mask.shape)}",
            fix="Pass one entry a token: 1 at real tokens, 0 at padding",
        )
    mask = mask.to(tokens.device, torch.bool)
    for row, (ids, real) in enumerate(zip(tokens.tolist(), mask.tolist(), strict=True)):
        if not any(real):
            raise ExampleError(
                expected="at least one real token in every row",
                found=f"padding alone in row {row}",
                fix="Drop the row, or pass an attention mask with 1 at its real tokens",
            )
        check_ids(model, tuple(compress(ids, real)), f"row {row}")
    return mask
