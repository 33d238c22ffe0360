"""What CAA and BiPO have in common: one file to fit on and one to test on for each behaviour."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from coldlens.datasets.fetch import locate
from coldlens.datasets.formats import PromptFormat, format_named
from coldlens.datasets.names import suggestion
from coldlens.datasets.splits import Row, part, without_duplicates, without_questions_of
from coldlens.datasets.tables import Record, read_table
from coldlens.errors import ArgumentError, DataError
from coldlens.examples.example import ExampleSet, TokenPolicy


def check_behaviour(collection: str, behaviour: str, known: tuple[str, ...]) -> None:
    """Refuses a behaviour that a data set does not have.

    Args:
        collection: Name of the data set, such as `"caa"`.
        behaviour: Behaviour to check.
        known: Those that it has.

    Raises:
        DataError: If the behaviour is not one of them.
    """
    if behaviour not in known:
        names = [f"{collection}/{each}" for each in known]
        raise DataError(
            expected=f"one of the behaviours of {collection}: {', '.join(map(repr, names))}",
            found=repr(f"{collection}/{behaviour}"),
            fix=suggestion(f"{collection}/{behaviour}", names),
        )


@dataclass(frozen=True)
class PublicDataset:
    """A data set with a file to fit on and a file to test on for each behaviour.

    Attributes:
        name: What it is called, and its folder.
        behaviours: The behaviours that it has.
        fit_file: Name of the file to fit on, with `{behaviour}` in it.
        test_file: Name of the file to test on, with `{behaviour}` in it.
        multiple_choice: Whether the completions are letters.
        parse: Makes a row of a record, or None of a record without a question.
    """

    name: str
    behaviours: tuple[str, ...]
    fit_file: str
    test_file: str
    multiple_choice: bool
    parse: Callable[[Record, PromptFormat], Row | None]

    def load(
        self,
        behaviour: str,
        split: str,
        prompt_format: str | None = None,
        folder: str | os.PathLike[str] | None = None,
        policy: TokenPolicy | None = None,
    ) -> ExampleSet:
        """Reads one split of one behaviour.

        The file to fit on is divided into train and validation. Of it are left out: rows that
        occur twice (white space and the order of the options apart), rows that ask a question of
        the test set, and rows without a question. `source` says how many. An unknown behaviour
        and a file that is missing or unreadable are a `DataError`.

        Args:
            behaviour: One of `behaviours`.
            split: `"train"`, `"validation"` or `"test"`.
            prompt_format: A key of `FORMATS`; None for `"question"`.
            folder: The folder that holds the data sets, see `locate`.
            policy: How strings become tokens; None for the one of the format.

        Returns:
            The examples.

        Raises:
            ArgumentError: If the format does not go with the policy.
        """
        check_behaviour(self.name, behaviour, self.behaviours)
        style = format_named(prompt_format or "question")
        if style.chat and policy is not None and not policy.chat_template:
            raise ArgumentError(
                expected="a policy with chat_template=True beside prompt_format='chat'",
                found=repr(policy),
                fix="Leave policy out, or choose another format",
            )
        name = f"{self.name}/{behaviour}"
        rows, origin = self._read(self.test_file.format(behaviour=behaviour), style, folder)
        if split != "test":
            test = rows
            rows, fit_origin = self._read(self.fit_file.format(behaviour=behaviour), style, folder)
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
        self, inside: str, style: PromptFormat, folder: str | os.PathLike[str] | None
    ) -> tuple[list[Row], str]:
        file = f"{self.name}/{inside}"
        table = read_table(locate(file, folder))
        parsed = [self.parse(record, style) for record in table.records]
        rows = [row for row in parsed if row is not None]
        blank = len(parsed) - len(rows)
        origin = f"{file} (sha256 {table.digest}, {len(parsed)} rows"
        return rows, origin + (f", {blank} without a question)" if blank else ")")
