"""Train, validation and test: which rows are kept, and which of them belong together."""

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from coldlens.datasets.names import suggestion
from coldlens.errors import ArgumentError
from coldlens.examples.example import Example

SPLITS = ("train", "validation", "test")
VALIDATION_SHARE = 0.2


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
            fix=suggestion(split, SPLITS),
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
    """Divides rows into train and validation, 80 to 20.

    The questions are ordered by a SHA-256 of themselves and the name, and the first fifth is for
    validation: the same on every machine, whatever is sampled from it later.

    Args:
        rows: All rows, without those of the test set.
        split: `"train"` or `"validation"`.
        name: Name of the data set.

    Returns:
        The rows of the split in their order.
    """

    def order(question: str) -> str:
        return hashlib.sha256(f"{name}\n{question}".encode()).hexdigest()

    questions = sorted({row.question for row in rows}, key=order)
    held_out = set(questions[: round(VALIDATION_SHARE * len(questions))])
    return [row for row in rows if (row.question in held_out) == (split == "validation")]
