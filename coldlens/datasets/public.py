"""What CAA and BiPO have in common: one file to fit on and one to test on for each behaviour."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from coldlens.datasets.fetch import locate
from coldlens.datasets.formats import PromptFormat, format_for
from coldlens.datasets.splits import Row, part, without_duplicates, without_questions_of
from coldlens.datasets.tables import Record, read_table
from coldlens.errors import ArgumentError
from coldlens.examples.example import ExampleSet, TokenPolicy


@dataclass(frozen=True)
class PublicDataset:
    """A data set with a file to fit on and a file to test on for each behaviour.

    Attributes:
        name: What the examples of a behaviour are called, with `{behaviour}` in it.
        behaviours: The behaviours that it has.
        test_file: Name of the file to test on, with `{behaviour}` in it.
        multiple_choice: Whether the completions are letters.
        parse: Makes a row of a record, or None where the question or an option is blank.
        fit_file: Name of the file to fit on, with `{behaviour}` in it; None where there is none.
    """

    name: str
    behaviours: tuple[str, ...]
    test_file: str
    multiple_choice: bool
    parse: Callable[[Record, PromptFormat], Row | None]
    fit_file: str | None = None

    def names(self) -> dict[str, str]:
        """Returns the behaviour by the name that its examples have."""
        return {self.name.format(behaviour=each): each for each in self.behaviours}

    def load(
        self,
        name: str,
        split: str,
        prompt_format: str | None = None,
        folder: str | os.PathLike[str] | None = None,
        policy: TokenPolicy | None = None,
    ) -> ExampleSet:
        """Reads one split of one behaviour.

        The file to fit on is divided into train and validation. Of it are left out: rows that
        occur twice (white space and the order of the options apart), rows that ask a question of
        the test set, and rows with a blank question or option. `source` says how many. A file
        that is missing or unreadable is a `DataError`.

        Args:
            name: One of `names()`.
            split: `"train"`, `"validation"` or `"test"`.
            prompt_format: A key of `FORMATS`; None for `"question"`.
            folder: The folder that holds the data sets, see `locate`.
            policy: How strings become tokens; None for the one of the format.

        Returns:
            The examples.

        Raises:
            ArgumentError: If the format does not go with the policy, or there is nothing to fit on.
        """
        behaviour = self.names()[name]
        style = format_for(prompt_format, policy)
        if split != "test" and self.fit_file is None:
            raise ArgumentError(
                expected=f"split='test' of {name}, which has questions to test on only",
                found=f"split={split!r}",
                fix=f"Fit on a behaviour, such as {name.split('/')[0]}/hallucination, and pass "
                "split='test' here",
            )
        rows, origin = _read(self.parse, self.test_file.format(behaviour=behaviour), style, folder)
        if split != "test" and self.fit_file is not None:
            test = rows
            fit = self.fit_file.format(behaviour=behaviour)
            rows, fit_origin = _read(self.parse, fit, style, folder)
            distinct = without_duplicates(rows)
            kept = without_questions_of(distinct, test)
            origin = (
                f"{fit_origin}, dropped {len(rows) - len(distinct)} duplicates and "
                f"{len(distinct) - len(kept)} with a question of {origin}"
            )
            rows = part(kept, split, name)
        return ExampleSet(
            tuple(row.example for row in rows),
            name=name,
            source=f"{name}, {split}: {origin}",
            policy=policy or style.policy(self.multiple_choice),
        )


def _read(
    parse: Callable[[Record, PromptFormat], Row | None],
    file: str,
    style: PromptFormat,
    folder: str | os.PathLike[str] | None,
) -> tuple[list[Row], str]:
    table = read_table(locate(file, folder))
    parsed = [parse(record, style) for record in table.records]
    rows = [row for row in parsed if row is not None]
    blank = len(parsed) - len(rows)
    origin = f"{file} (sha256 {table.digest}, {len(parsed)} rows"
    return rows, origin + (f", {blank} with a blank question or option)" if blank else ")")
