"""`Example` and `ExampleSet`: what a behaviour is shown by."""

import hashlib
import json
import math
import operator
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, overload

from coldlens.checks import at_least, is_whole
from coldlens.errors import ExampleError, ExampleTypeError

Text = str | tuple[int, ...]
"""A string, or token ids that are used as they are (no BOS, no template)."""


def as_text(value: str | Sequence[int], name: str) -> Text:
    """Returns a string as it is, and a sequence of token ids as a tuple.

    Args:
        value: A string or token ids.
        name: What it is, for the message.

    Returns:
        The text.

    Raises:
        ExampleTypeError: If it is neither.
    """
    if isinstance(value, str):
        return value
    try:
        return tuple(operator.index(token) for token in value)
    except (TypeError, ValueError) as error:
        raise ExampleTypeError(
            expected=f"`{name}` to be a string or a sequence of token ids",
            found=f"{type(value).__name__}",
            fix="Pass a str, or a list or tuple of int",
        ) from error


def _text(value: str | Sequence[int], name: str, hint: str = "") -> Text:
    text = as_text(value, name)
    if not text:
        raise ExampleError(
            expected=f"`{name}` with at least one token",
            found="an empty one",
            fix=f"Give a non-empty {name}{hint}",
        )
    return text


def _answers(
    options: Sequence[str | Sequence[int]] | None, distribution: Sequence[float | int] | None
) -> tuple[tuple[Text, ...], tuple[float, ...]]:
    if options is None or distribution is None:
        raise ExampleError(
            expected="`options` and their `distribution` together",
            found=f"no `{'options' if options is None else 'distribution'}`",
            fix="Give both, or neither",
        )
    if isinstance(options, str) or not isinstance(options, Iterable):
        raise ExampleError(
            expected="`options` as a list of answers",
            found=f"{options!r}",
            fix="Put each answer in the list",
        )
    choices = tuple(_text(option, "options") for option in options)
    shares = tuple(float(share) for share in distribution)
    if len(choices) < 2 or len(choices) != len(shares):
        raise ExampleError(
            expected="two or more `options`, and a probability in `distribution` for each",
            found=f"{len(choices)} options and {len(shares)} probabilities",
            fix="Give both the same length",
        )
    if len(set(choices)) < len(choices):
        raise ExampleError(
            expected="`options` that differ",
            found=f"{list(choices)}",
            fix="Name each answer once, with its whole probability",
        )
    if not all(share >= 0 for share in shares) or not abs(math.fsum(shares) - 1) <= 1e-6:
        raise ExampleError(
            expected="a `distribution` of probabilities that are not negative and sum to 1",
            found=f"{list(shares)}, which sum to {math.fsum(shares):.9g}",
            fix="Divide counts by their sum",
        )
    return choices, shares


@dataclass(frozen=True, init=False)
class Example:
    """One demonstration (xᵢ, yᵢ⁺, yᵢ⁻) of a behaviour, or one question with a group's answers.

    Attributes:
        prompt: The prompt xᵢ.
        positive: The completion yᵢ⁺ that shows the behaviour.
        negative: The completion yᵢ⁻ that does not, or None for positive-only data.
        options: The answers that a question offers, each one token after the prompt, or None.
        distribution: qᵢ, the share of a group that chooses each option, or None.
    """

    prompt: Text
    positive: Text
    negative: Text | None = None
    options: tuple[Text, ...] | None = None
    distribution: tuple[float, ...] | None = None

    def __init__(
        self,
        prompt: str | Sequence[int],
        positive: str | Sequence[int] | None = None,
        negative: str | Sequence[int] | None = None,
        *,
        options: Sequence[str | Sequence[int]] | None = None,
        distribution: Sequence[float | int] | None = None,
    ) -> None:
        """Stores the fields; sequences become tuples.

        Options and their distribution come together. Without a positive completion, the positive
        is then the most probable option (of several, the first) and the negative, where there is
        none either, the least probable one (of several, the last).

        Args:
            prompt: Text or token ids.
            positive: Text or token ids, not empty; None only beside options.
            negative: Text or token ids, not empty, or None.
            options: Two or more answers, each text or token ids.
            distribution: Their probabilities, not negative, which sum to 1 within 1e-6.

        Raises:
            ExampleError: If a field is empty or missing, or the distribution is none.
        """
        if options is not None or distribution is not None:
            choices, shares = _answers(options, distribution)
            if positive is None:
                positive = choices[shares.index(max(shares))]
                last = max(range(len(shares)), key=lambda place: (-shares[place], place))
                negative = choices[last] if negative is None else negative
            object.__setattr__(self, "options", choices)
            object.__setattr__(self, "distribution", shares)
        elif positive is None:
            raise ExampleError(
                expected="`positive`, or `options` with their `distribution`",
                found="neither",
                fix="Say what the prompt is answered with",
            )
        for name, value in (("prompt", prompt), ("positive", positive), ("negative", negative)):
            hint = ", or None for positive-only data" if name == "negative" else ""
            object.__setattr__(self, name, None if value is None else _text(value, name, hint))

    @property
    def paired(self) -> bool:
        """Whether there is a negative completion."""
        return self.negative is not None


@dataclass(frozen=True)
class TokenPolicy:
    """How strings become tokens; token ids are never touched.

    Attributes:
        bos: `"auto"` puts the tokenizer's BOS token before a prompt where TransformerLens does so
            by default for the architecture (Llama and Gemma, but not Qwen2 or GPT-NeoX),
            `"always"` puts it and is an error where there is none, `"never"` puts none. A prompt
            whose text already begins with BOS gets no second one.
        chat_template: Render the prompt as a user turn with the tokenizer's chat template; the
            template then decides about BOS.
        answer_prefix: Text between the rendered chat template and the completion, for instance
            `"("` for multiple choice. Only used with `chat_template`.
    """

    bos: Literal["auto", "always", "never"] = "auto"
    chat_template: bool = False
    answer_prefix: str = ""


@dataclass(frozen=True)
class ExampleSet(Sequence[Example]):
    """A named sequence of examples with one explicit token policy.

    Attributes:
        examples: The examples, at least one.
        name: What the set is called in tables and metadata.
        source: Where it came from: a file, a data set and its split, `"list"`.
        policy: How strings become tokens.
    """

    examples: tuple[Example, ...]
    name: str = "examples"
    source: str = "list"
    policy: TokenPolicy = field(default_factory=TokenPolicy)

    def __post_init__(self) -> None:
        """Checks that there is at least one example.

        Raises:
            ExampleError: If the set is empty.
            ExampleTypeError: If an element is not an `Example`.
        """
        object.__setattr__(self, "examples", tuple(self.examples))
        if not self.examples:
            raise ExampleError(
                expected=f"at least one example in {self.name!r}",
                found="none",
                fix="Pass 10 to 50 examples of the behaviour",
            )
        for index, example in enumerate(self.examples):
            if not isinstance(example, Example):
                raise ExampleTypeError(
                    expected="every element to be a coldlens.Example",
                    found=f"{type(example).__name__} at index {index}",
                    fix="Build it with coldlens.Example(prompt, positive, negative)",
                )

    @staticmethod
    def of(examples: "ExampleSet | Iterable[Example]") -> "ExampleSet":
        """Returns an `ExampleSet` unchanged, or wraps an iterable of examples.

        Args:
            examples: The examples.

        Returns:
            The set.

        Raises:
            ExampleTypeError: If it is a string, as in the name of a data set, or a single example.
        """
        if isinstance(examples, ExampleSet):
            return examples
        if isinstance(examples, Example):
            raise ExampleTypeError(
                expected="examples", found="a single Example", fix="Pass a list: [example]"
            )
        if isinstance(examples, str):
            raise ExampleTypeError(
                expected="examples",
                found=f"the string {examples!r}",
                fix="Load them first with coldlens.load_examples",
            )
        if not isinstance(examples, Iterable):
            raise ExampleTypeError(
                expected="examples",
                found=repr(examples),
                fix="Pass a list of coldlens.Example, or what coldlens.load_examples returns",
            )
        return ExampleSet(tuple(examples))

    def __len__(self) -> int:
        """Returns the number of examples."""
        return len(self.examples)

    def __iter__(self) -> Iterator[Example]:
        """Returns an iterator over the examples."""
        return iter(self.examples)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> "ExampleSet": ...
    def __getitem__(self, index: int | slice) -> "Example | ExampleSet":
        """Returns one example, or for a slice a smaller set."""
        if isinstance(index, slice):
            return replace(self, examples=self.examples[index])
        return self.examples[index]

    @property
    def paired(self) -> bool:
        """Whether every example has a negative completion."""
        return all(example.paired for example in self.examples)

    def sample(self, n: int, seed: int = 0) -> "ExampleSet":
        """Draws `n` different examples.

        Args:
            n: How many, at most `len(self)`.
            seed: Seed of the draw; the same seed gives the same examples in the same order.

        Returns:
            The smaller set.

        Raises:
            ExampleError: If `n` is not between 1 and the number of examples.
        """
        at_least(0, "seed", seed)
        if not is_whole(n) or not 1 <= n <= len(self):
            raise ExampleError(
                expected=f"n between 1 and {len(self)}, the size of {self.name!r}",
                found=f"n = {n}",
                fix="Ask for fewer examples",
            )
        return replace(self, examples=tuple(random.Random(seed).sample(self.examples, n)))

    def hash(self) -> str:
        """Returns a SHA-256 of the examples and the token policy, in hexadecimal."""
        rows = [
            [example.prompt, example.positive, example.negative]
            + ([example.options, example.distribution] if example.options else [])
            for example in self.examples
        ]
        text = json.dumps([rows, repr(self.policy)], ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()
