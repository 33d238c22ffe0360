"""Train, validation and test: which rows are kept, and which of them belong together."""

import hashlib
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from coldlens.checks import is_whole
from coldlens.datasets.names import suggestion
from coldlens.errors import ArgumentError
from coldlens.examples.example import Example

SPLITS = ("train", "validation", "test")
SHARE = 0.2
"""Of the questions are for validation, and as many for the test where it has no file of its own."""


def check_split(split: str) -> None:
    """Refuses a split that does not exist.

    Args:
        split: Name to check.

    Raises:
        ArgumentError: If it is not one of `SPLITS`.
    """
    if split not in SPLITS:
        raise ArgumentError(
            expected=f"split to be one of {', '.join(map(repr, SPLITS))}",
            found=repr(split),
            fix=suggestion(str(split), SPLITS),
        )


def check_number(n: int, available: int, source: str) -> None:
    """Refuses to draw more than there are.

    Args:
        n: How many to draw.
        available: How many there are.
        source: Of what, for the message.

    Raises:
        ArgumentError: If `n` is not between 1 and `available`.
    """
    if not is_whole(n) or not 1 <= n <= available:
        raise ArgumentError(
            expected=f"n between 1 and {available}, all that there are of {source}",
            found=f"n={n!r}",
            fix="Choose n in that range, or None for all",
        )


def squeeze(text: str) -> str:
    """Returns the text with each run of white space as one space, and none around it."""
    return " ".join(text.split())


@dataclass(frozen=True)
class Row:
    """An example with what tells whether two of them are the same.

    Attributes:
        question: What is asked, in normal white space and without options: rows that share it
            are never put into different splits.
        content: Everything in the row, options in a fixed order: rows that share it are
            duplicates.
        example: The example.
    """

    question: str
    content: Hashable
    example: Example


def without_duplicates(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows in their order, of each content only the first."""
    first: dict[Hashable, Row] = {}
    for row in rows:
        first.setdefault(row.content, row)
    return list(first.values())


def without_questions_of(rows: Sequence[Row], test: Sequence[Row]) -> list[Row]:
    """Returns the rows in their order, except those that ask a question of `test`."""
    asked = {row.question for row in test}
    return [row for row in rows if row.question not in asked]


def part(rows: Sequence[Row], split: str, name: str) -> list[Row]:
    """Divides rows into train and validation, 80 to 20, see `divided`.

    Args:
        rows: All rows, without those of the test set.
        split: `"train"` or `"validation"`.
        name: Name of the data set.

    Returns:
        The rows of the split in their order.
    """
    split_of = divided((row.question for row in rows), name, ("validation",))
    return [row for row in rows if split_of[row.question] == split]


def divided(questions: Iterable[str], name: str, held_out: Sequence[str]) -> dict[str, str]:
    """Gives every question a split.

    The questions are ordered by a SHA-256 of themselves and the name, and the first fifth is for
    validation, the next one, where it is asked for, for the test: the same on every machine,
    whatever is sampled from it later.

    Args:
        questions: The questions, some perhaps several times.
        name: Name of the data set.
        held_out: The splits to hold out a fifth each for; the rest is `"train"`.

    Returns:
        The split by question.
    """

    def order(question: str) -> str:
        return hashlib.sha256(f"{name}\n{question}".encode()).hexdigest()

    ordered = sorted(set(questions), key=order)
    size = round(SHARE * len(ordered))
    split_of = dict.fromkeys(ordered, "train")
    for place, split in enumerate(held_out):
        split_of |= dict.fromkeys(ordered[place * size : (place + 1) * size], split)
    return split_of
