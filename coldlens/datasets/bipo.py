"""Bi-directional preference optimisation (Cao et al. 2024): questions with free-text answers."""

from coldlens.datasets.formats import PromptFormat
from coldlens.datasets.public import PublicDataset
from coldlens.datasets.splits import Row, squeeze
from coldlens.datasets.tables import Record


def _parse(record: Record, style: PromptFormat) -> Row | None:
    if not squeeze(record.value("question")):
        return None
    question, positive, negative = map(record.text, ("question", "matching", "not_matching"))
    return Row(
        question=squeeze(question),
        content=(squeeze(question), squeeze(positive), squeeze(negative)),
        example=style.open(question, positive, negative),
    )


BIPO = PublicDataset(
    name="bipo",
    behaviours=("hallucination", "jailbreak", "power-seeking", "wealth-seeking"),
    fit_file="{behaviour}/train.csv",
    test_file="{behaviour}/test.csv",
    multiple_choice=False,
    parse=_parse,
)
"""The data set: its completions are sentences, with a space in front."""
