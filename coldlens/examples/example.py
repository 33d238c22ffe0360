"""`Example` and `ExampleSet`: what a behaviour is shown by."""

import hashlib
import json
import math
import operator
import random
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args, overload

from coldlens.checks import at_least, is_real, is_whole, one_of
from coldlens.errors import ArgumentError, ExampleError, ExampleTypeError

Text = str | tuple[int, ...]
"""A string, or token ids that are used as they are (no BOS, no template)."""


def as_text(value: str | Sequence[int], name: str, hint: str = "") -> Text:
    """Returns a string as it is, and a sequence of token ids as a tuple.

    Args:
        value: A string or token ids.
        name: What it is, for the message.
        hint: What else may be given, for the message.

    Returns:
        The text.

    Raises:
        ExampleTypeError: If it is neither.
        ExampleError: If it is empty.
    """
    text = value if isinstance(value, str) else _token_ids(value)
    if text is None:
        raise ExampleTypeError(
            expected=f"`{name}` to be a string or a sequence of token ids",
            found=f"{value!r:.60}",
            fix="Pass a str, or a list or tuple of int",
        )
    if not text:
        raise ExampleError(
            expected=f"`{name}` with at least one token",
            found="an empty one",
            fix=f"Give a non-empty {name}{hint}",
        )
    return text


def _token_ids(value: Any) -> tuple[int, ...] | None:
    """Returns token ids as a tuple, or None for anything else: bytes and bools are no ids."""
    try:
        ids = tuple(operator.index(token) for token in value if not isinstance(token, bool))
        whole = not isinstance(value, bytes | bytearray) and len(ids) == len(value)
    except (TypeError, ValueError):
        return None
    return ids if whole else None


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
    shares = tuple(distribution) if isinstance(distribution, Iterable) else None
    if shares is None or not all(map(is_real, shares)):
        raise ExampleTypeError(
            expected="`distribution` as a list of numbers",
            found=f"{distribution!r}",
            fix="Give the probability of each option, such as [0.7, 0.3]",
        )
    choices = tuple(as_text(option, "options") for option in options)
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
    return choices, tuple(map(float, shares))


@dataclass(frozen=True, init=False)
class Example:
    """One demonstration (xᵢ, yᵢ⁺, yᵢ⁻) of a behaviour, or one question with a group's answers.

    Attributes:
        prompt: The prompt xᵢ.
        positive: The completion yᵢ⁺ that shows the behaviour.
        negative: The completion yᵢ⁻ that does not, or None for positive-only data.
        options: The answers that a question offers, each one token after the prompt, or None.
        distribution: qᵢ, the share of a group that chooses each option, or None.
        clusters: What it was made from, a label a factor, such as its template and its topic: other
            examples share them. Intervals over questions draw whole clusters, so that they cover
            other templates and topics too; nothing else depends on them.
    """

    prompt: Text
    positive: Text
    negative: Text | None = None
    options: tuple[Text, ...] | None = None
    distribution: tuple[float, ...] | None = None
    clusters: tuple[str, ...] = field(default=(), compare=False)

    def __init__(
        self,
        prompt: str | Sequence[int],
        positive: str | Sequence[int] | None = None,
        negative: str | Sequence[int] | None = None,
        *,
        options: Sequence[str | Sequence[int]] | None = None,
        distribution: Sequence[float | int] | None = None,
        clusters: Sequence[str] = (),
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
            clusters: Labels of what the example shares with others.

        Raises:
            ExampleError: If a field is empty or missing, or the distribution is none.
            ExampleTypeError: If clusters are no labels.
        """
        # A set has no order, so its labels would change places.
        ordered = isinstance(clusters, Iterable) and not isinstance(clusters, str | Set)
        labels = tuple(clusters) if ordered else (None,)
        if not all(isinstance(label, str) for label in labels):
            raise ExampleTypeError(
                expected="`clusters` as a list of labels",
                found=f"{clusters!r}",
                fix="Give a string for each factor, such as [template, topic]",
            )
        object.__setattr__(self, "clusters", labels)
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
        object.__setattr__(self, "prompt", as_text(prompt, "prompt"))
        object.__setattr__(self, "positive", as_text(positive, "positive"))
        if negative is not None:
            negative = as_text(negative, "negative", ", or None for positive-only data")
        object.__setattr__(self, "negative", negative)

    @property
    def paired(self) -> bool:
        """Whether there is a negative completion."""
        return self.negative is not None


BosRule = Literal["auto", "always", "never"]


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
            `"("` for multiple choice. Only with `chat_template`.
    """

    bos: BosRule = "auto"
    chat_template: bool = False
    answer_prefix: str = ""

    def __post_init__(self) -> None:
        """Checks the rules.

        Raises:
            ArgumentError: If one of them is unknown, or there is an answer prefix without a
                chat template.
        """
        one_of("bos", self.bos, get_args(BosRule))
        if not isinstance(self.chat_template, bool):
            raise ArgumentError(
                expected="chat_template, True or False",
                found=f"chat_template = {self.chat_template!r}",
                fix="The template itself is the tokenizer's: set tokenizer.chat_template",
            )
        if not isinstance(self.answer_prefix, str):
            raise ArgumentError(
                expected="answer_prefix, a string",
                found=f"answer_prefix = {self.answer_prefix!r}",
                fix='Pass "" for none',
            )
        if self.answer_prefix and not self.chat_template:
            raise ArgumentError(
                expected="an answer_prefix only with chat_template=True",
                found=f"answer_prefix = {self.answer_prefix!r} without a chat template",
                fix="End the prompts themselves with it",
            )


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
            ExampleError: If the set is empty, or only some examples have clusters.
            ExampleTypeError: If an element is not an `Example`, or the policy is none.
        """
        object.__setattr__(self, "examples", tuple(self.examples))
        if not isinstance(self.policy, TokenPolicy):
            raise ExampleTypeError(
                expected="a policy that is a coldlens.TokenPolicy",
                found=f"policy = {self.policy!r}",
                fix='Build it, such as TokenPolicy(bos="never")',
            )
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
        factors = {len(example.clusters) for example in self.examples}
        if len(factors) > 1:
            raise ExampleError(
                expected=f"as many labels in `clusters` in every example of {self.name!r}",
                found=f"{min(factors)} to {max(factors)}",
                fix="Give each example a label for each factor, or none any",
            )

    @property
    def clusters(self) -> list[tuple[str, ...]]:
        """The labels of each example; see `Example.clusters`."""
        return [example.clusters for example in self.examples]

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
                fix="Choose n in that range",
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
