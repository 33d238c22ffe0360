"""Bi-directional preference optimisation (Cao et al. 2024): free text, and the same to choose."""

from coldlens.datasets.formats import PromptFormat, with_choices
from coldlens.datasets.public import PublicDataset
from coldlens.datasets.splits import Row, squeeze
from coldlens.datasets.tables import Record
from coldlens.errors import DataError


def _parse(record: Record, style: PromptFormat) -> Row | None:
    if not squeeze(record.value("question")):
        return None
    question, positive, negative = map(record.text, ("question", "matching", "not_matching"))
    return Row(
        question=squeeze(question),
        content=(squeeze(question), squeeze(positive), squeeze(negative)),
        example=style.open(question, positive, negative),
    )


def _parse_choice(record: Record, style: PromptFormat) -> Row:
    question, first, second, *letters = map(
        record.text, ("question", "A", "B", "matching", "not_matching")
    )
    if sorted(letters) != ["A", "B"]:
        raise DataError(
            expected=f"the letters A and B in 'matching' and 'not_matching' of {record.place}",
            found=" and ".join(map(repr, letters)),
            fix="Correct the file there, or fetch it again",
        )
    return Row(
        question=squeeze(question),
        content=(squeeze(question), tuple(sorted(map(squeeze, (first, second))))),
        example=style.choice(with_choices(question, (first, second)), *letters),
    )


BIPO = PublicDataset(
    name="bipo/{behaviour}",
    behaviours=("hallucination", "jailbreak", "power-seeking", "wealth-seeking"),
    fit_file="bipo/{behaviour}/train.csv",
    test_file="bipo/{behaviour}/test.csv",
    multiple_choice=False,
    parse=_parse,
)
"""The data set: its completions are sentences, with a space in front."""

BIPO_CHOICE = PublicDataset(
    name="bipo/{behaviour}/choice",
    behaviours=("hallucination", "power-seeking", "wealth-seeking"),
    test_file="bipo/{behaviour}/test_infer.csv",
    multiple_choice=True,
    parse=_parse_choice,
)
"""Its questions to test on, with both answers as options: the completions are letters."""
