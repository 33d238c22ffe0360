"""`Example` and `ExampleSet`: what a behaviour is shown by."""

import hashlib
import json
import operator
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, overload

from coldlens.errors import ExampleError, ExampleTypeError

Text = str | tuple[int, ...]
"""A string, or token ids that are used as they are (no BOS, no template)."""


def _as_text(value: str | Sequence[int] | None, name: str) -> Text | None:
    if value is None or isinstance(value, str):
        return value
    try:
        ids = tuple(operator.index(token) for token in value)
    except (TypeError, ValueError) as error:
        raise ExampleTypeError(
            expected=f"`{name}` to be a string or a sequence of token ids",
            found=f"{type(value).__name__}",
            fix="Pass a str, or a list or tuple of int",
        ) from error
    return ids


@dataclass(frozen=True, init=False)
class Example:
    """One demonstration (xᵢ, yᵢ⁺, yᵢ⁻) of a behaviour.

    Attributes:
        prompt: The prompt xᵢ.
        positive: The completion yᵢ⁺ that shows the behaviour.
        negative: The completion yᵢ⁻ that does not, or None for positive-only data.
    """

    prompt: Text
    positive: Text
    negative: Text | None = None

    def __init__(
        self,
        prompt: str | Sequence[int],
        positive: str | Sequence[int],
        negative: str | Sequence[int] | None = None,
    ) -> None:
        """Stores the three fields; sequences of token ids become tuples.

        Args:
            prompt: Text or token ids.
            positive: Text or token ids, not empty.
            negative: Text or token ids, not empty, or None.

        Raises:
            ExampleError: If a field is empty.
        """
        for name, value in (("prompt", prompt), ("positive", positive), ("negative", negative)):
            text = _as_text(value, name)
            if text is not None and len(text) == 0:
                raise ExampleError(
                    expected=f"`{name}` with at least one token",
                    found="an empty one",
                    fix=f"Give a non-empty {name}"
                    + (", or None for positive-only data" if name == "negative" else ""),
                )
            object.__setattr__(self, name, text)

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
            ExampleTypeError: If it is a string, as in the name of a data set.
        """
        if isinstance(examples, ExampleSet):
            return examples
        if isinstance(examples, str):
            raise ExampleTypeError(
                expected="examples",
                found=f"the string {examples!r}",
                fix="Load them first with coldlens.load_examples",
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
        if not 1 <= n <= len(self):
            raise ExampleError(
                expected=f"n between 1 and {len(self)}, the size of {self.name!r}",
                found=f"n = {n}",
                fix="Ask for fewer examples",
            )
        return replace(self, examples=tuple(random.Random(seed).sample(self.examples, n)))

    def hash(self) -> str:
        """Returns a SHA-256 of the examples and the token policy, in hexadecimal."""
        rows = [[example.prompt, example.positive, example.negative] for example in self.examples]
        text = json.dumps([rows, repr(self.policy)], ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()
