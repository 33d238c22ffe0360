"""Contrastive Activation Addition (Rimsky et al. 2024): questions with lettered options."""

import os
import re
from functools import partial

from coldlens.datasets.fetch import locate
from coldlens.datasets.formats import PromptFormat
from coldlens.datasets.public import PublicDataset
from coldlens.datasets.splits import Row, squeeze
from coldlens.datasets.tables import Record, read_table
from coldlens.errors import DataError

_OPTION = re.compile(r"\n\s*\([A-Z]\)")
_LETTER = re.compile(r"\(([A-Z])\)")
_BEHAVIOUR = ("question", "answer_matching_behavior", "answer_not_matching_behavior")
_CORRECT = ("prompt", "correct", "incorrect")


def _letter(record: Record, name: str) -> str:
    answer = record.text(name)
    match = _LETTER.fullmatch(answer)
    if match is None:
        raise DataError(
            expected=f"a letter in parentheses in field {name!r} of {record.place}",
            found=repr(answer),
            fix="Write it as '(A)'",
        )
    return match[1]


def _parse(record: Record, style: PromptFormat, fields: tuple[str, str, str]) -> Row | None:
    question = record.text(fields[0])
    asked, *options = map(squeeze, _OPTION.split(question))
    if not all(options):
        return None
    positive, negative = (_letter(record, name) for name in fields[1:])
    return Row(
        question=asked,
        content=(asked, tuple(sorted(options))),
        example=style.choice(question, positive, negative),
    )


CAA = PublicDataset(
    name="caa/{behaviour}",
    behaviours=(
        "coordinate-other-ais",
        "corrigible-neutral-HHH",
        "hallucination",
        "myopic-reward",
        "refusal",
        "survival-instinct",
        "sycophancy",
    ),
    fit_file="caa/generate/{behaviour}/generate_dataset.json",
    test_file="caa/test/{behaviour}/test_dataset_ab.json",
    multiple_choice=True,
    parse=partial(_parse, fields=_BEHAVIOUR),
)
"""The data set: its completions are letters, such as `"A"`."""

SIDE_EFFECTS = tuple(
    PublicDataset(
        name="caa/{behaviour}",
        behaviours=(behaviour,),
        test_file=file,
        multiple_choice=True,
        parse=partial(_parse, fields=_CORRECT),
    )
    for behaviour, file in (
        ("mmlu", "caa/test/mmlu/mmlu.json"),
        ("truthfulqa", "caa/test/truthfulqa/truthful_qa.json"),
    )
)
"""Questions of knowledge, to test on: the positive completion is the letter of the right answer."""

OPEN_QUESTIONS = {f"caa/{behaviour}/open": behaviour for behaviour in CAA.behaviours}
"""The behaviour of each set of questions without options or answers."""


def open_questions(name: str, folder: str | os.PathLike[str] | None) -> list[str]:
    """Reads questions that are to be answered at length.

    A file that is missing or unreadable is a `DataError`.

    Args:
        name: A key of `OPEN_QUESTIONS`.
        folder: The folder that holds the data sets, see `locate`.

    Returns:
        The distinct questions, in order.
    """
    file = f"caa/test/{OPEN_QUESTIONS[name]}/test_dataset_open_ended.json"
    questions = [record.text("question") for record in read_table(locate(file, folder)).records]
    first: dict[str, str] = {}
    for question in questions:
        first.setdefault(squeeze(question), question)
    return list(first.values())
