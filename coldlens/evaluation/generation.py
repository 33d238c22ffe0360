"""Open-ended answers: text generated with and without steering, scored by a judge."""

import reprlib
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from inspect import signature
from typing import Any, SupportsFloat

from tqdm.auto import tqdm
from transformer_lens.model_bridge import TransformerBridge

from coldlens.checks import at_least
from coldlens.errors import ArgumentError
from coldlens.examples.positions import Positions
from coldlens.examples.tokens import Ids
from coldlens.models.generate import answer, text_of
from coldlens.steering.steering import Steering

Judge = Callable[[str, str], float]
"""(prompt, generated text) → score, higher where the text shows more of the behaviour."""


@dataclass(frozen=True)
class Generation:
    """How answers are generated and scored.

    Attributes:
        judge: Scores an answer; None to keep the text unscored.
        max_new_tokens: Length of each answer; it may end earlier with the end-of-text token.
        n: Length of the token sequences whose repetition is counted.
    """

    judge: Judge | None = None
    max_new_tokens: int = 20
    n: int = 2

    def __post_init__(self) -> None:
        """Checks the settings.

        Raises:
            ArgumentError: If one is out of range, or the judge cannot be called.
        """
        if self.judge is not None:
            _check_judge(self.judge)
        at_least(1, "max_new_tokens", self.max_new_tokens)
        at_least(1, "n", self.n)

    def measure(
        self,
        model: TransformerBridge,
        prompts: Sequence[Ids],
        steering: Steering | None = None,
        *,
        layer: int | Sequence[int] = 0,
        eta: float = 1.0,
        positions: Positions = "prompt",
        progress: bool = False,
    ) -> dict[str, list[str] | list[float]]:
        """Answers each prompt greedily, one by one.

        Args:
            model: The model.
            prompts: Token ids of the prompts.
            steering: The steering, or None.
            layer: The steered layer or layers.
            eta: Step size.
            positions: Where.
            progress: Show a progress bar.

        Returns:
            `text`; `repetition`, the share of the answer's n-grams that occurred before in it;
            and with a judge `score`.
        """
        found: dict[str, list] = {"text": [], "repetition": []}
        if self.judge is not None:
            found["score"] = []
        for prompt in tqdm(prompts, desc="answers", disable=not progress):
            context = (
                nullcontext()
                if steering is None
                else steering.apply(model, layer=layer, eta=eta, positions=positions)
            )
            with context:
                made = answer(model, prompt, self.max_new_tokens)
            text = text_of(model, made)
            found["text"].append(text)
            found["repetition"].append(repetition(made, self.n))
            if self.judge is not None:
                found["score"].append(_score(self.judge(text_of(model, prompt), text)))
        return found


def repetition(tokens: Sequence[int], n: int = 2) -> float:
    """Returns the share of n-grams that occurred before.

    Args:
        tokens: A sequence.
        n: Length of the n-grams.

    Returns:
        Between 0 (all different) and 1; 0 where there is none.
    """
    grams = [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _check_judge(judge: Any) -> None:
    expected = "a judge that is called with a prompt and an answer, or None"
    if not callable(judge):
        raise ArgumentError(
            expected=expected,
            found=f"judge = {judge!r}",
            fix="Pass Generation(max_new_tokens=…) to set the length alone",
        )
    try:
        taken = signature(judge)
    except ValueError:
        return  # some functions that are written in C do not say
    try:
        taken.bind("prompt", "answer")
    except TypeError as error:
        raise ArgumentError(
            expected=expected,
            found=f"a judge that takes {taken}",
            fix="Write judge(prompt, answer)",
        ) from error


def _score(value: Any) -> float:
    if not isinstance(value, SupportsFloat) or getattr(value, "ndim", 0) > 0:
        raise ArgumentError(
            expected="a judge that returns a number for each answer",
            found=f"{reprlib.repr(value)} from the judge",
            fix="Turn its verdict into a number, nan where there is none",
        )
    return float(value)
