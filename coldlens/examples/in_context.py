"""In-context learning, the baseline without steering: demonstrations before each prompt."""

import bisect
import warnings
from dataclasses import replace

from transformer_lens.model_bridge import TransformerBridge

from coldlens.checks import is_whole
from coldlens.errors import ExampleError
from coldlens.examples.example import Example, ExampleSet
from coldlens.examples.tokens import BoundaryWarning, encode
from coldlens.models.guards import require_bridge

SEPARATOR = "\n\n"


def in_context(
    model: TransformerBridge,
    demonstrations: ExampleSet,
    questions: ExampleSet,
    k: int | None = None,
) -> ExampleSet:
    """Puts k demonstrations of a behaviour before each question.

    A demonstration is its prompt followed by its positive completion, and a blank line separates
    it from what comes next, as in the public code of Sharma and Trivedi 2026, "COLD-Steer"
    (without the word "Given" at the front). The whole is one prompt: one BOS token, or one user
    turn of a chat template, by the policy of the questions; a BOS token at the front of a later
    part is dropped.

    Args:
        model: The model, for its tokenizer and context length.
        demonstrations: The demonstrations, texts.
        questions: The questions, texts; their completions and whatever else they have stay.
        k: How many demonstrations, the first ones; None for all.

    Returns:
        The questions with longer prompts, in order.

    Raises:
        ExampleError: If k is out of range, a prompt or demonstration is given as token ids, or a
            question with its demonstrations is longer than the model's context.
    """
    require_bridge(model)
    count = len(demonstrations) if k is None else k
    if not is_whole(count) or not 1 <= count <= len(demonstrations):
        raise ExampleError(
            expected=f"k between 1 and {len(demonstrations)}, the number of demonstrations",
            found=f"k = {k}",
            fix="Choose k in that range",
        )
    bos = getattr(model.tokenizer, "bos_token", None) or ""
    prefix = questions.policy.answer_prefix
    shown = [_text(one.prompt) + prefix + _text(one.positive) for one in demonstrations[:count]]
    asked = [_text(question.prompt) for question in questions]

    def built(size: int) -> ExampleSet:
        examples = [
            _with_prompt(question, shown[:size], text, bos)
            for question, text in zip(questions, asked, strict=True)
        ]
        return replace(questions, examples=tuple(examples))

    if not _fits(model, built(count)):
        encode(model, questions)  # raises where the questions alone are at fault
        too_long = lambda size: not _fits(model, built(size))  # noqa: E731
        most = bisect.bisect_left(range(1, count), True, key=too_long)
        raise ExampleError(
            expected=f"at most {model.cfg.n_ctx} tokens, the model's context",
            found=f"a question that is longer with {count} demonstrations",
            fix=f"Use k <= {most}" if most else "Not even one fits: use shorter demonstrations",
        )
    return built(count)


def _with_prompt(question: Example, shown: list[str], asked: str, bos: str) -> Example:
    first, *rest = [*shown, asked]
    return replace(
        question, prompt=SEPARATOR.join([first, *(text.removeprefix(bos) for text in rest)])
    )


def _text(text: object) -> str:
    if not isinstance(text, str):
        raise ExampleError(
            expected="demonstrations and questions as texts",
            found="token ids, whose separator and BOS token are unknown",
            fix="Give the prompts and completions as strings",
        )
    return text


def _fits(model: TransformerBridge, examples: ExampleSet) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BoundaryWarning)
        try:
            encode(model, examples)
        except ExampleError:
            return False
    return True
