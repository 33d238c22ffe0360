"""Contrastive Activation Addition (Rimsky et al. 2024): questions with lettered options."""

import re

from coldlens.datasets.formats import PromptFormat
from coldlens.datasets.public import PublicDataset
from coldlens.datasets.splits import Row, squeeze
from coldlens.datasets.tables import Record
from coldlens.errors import DataError

_OPTION = re.compile(r"\n\s*\([A-Z]\)")
_LETTER = re.compile(r"\(([A-Z])\)")


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


def _parse(record: Record, style: PromptFormat) -> Row:
    question = record.text("question")
    asked, *options = map(squeeze, _OPTION.split(question))
    return Row(
        question=asked,
        content=(asked, tuple(sorted(options))),
        example=style.choice(
            question,
            _letter(record, "answer_matching_behavior"),
            _letter(record, "answer_not_matching_behavior"),
        ),
    )


CAA = PublicDataset(
    name="caa",
    behaviours=(
        "coordinate-other-ais",
        "corrigible-neutral-HHH",
        "hallucination",
        "myopic-reward",
        "refusal",
        "survival-instinct",
        "sycophancy",
    ),
    fit_file="generate/{behaviour}/generate_dataset.json",
    test_file="test/{behaviour}/test_dataset_ab.json",
    multiple_choice=True,
    parse=_parse,
)
"""The data set: its completions are letters, such as `"A"`."""
