"""AxBench (Wu et al. 2025), Concept10: instructions whose answers show a concept.

Its neutral answers are to other instructions: of the 72 of a concept 4 to 9 have one. So the
examples have a positive completion only.
"""

import os
import re

from coldlens.datasets.fetch import locate
from coldlens.datasets.formats import format_for
from coldlens.datasets.names import check_name
from coldlens.datasets.splits import divided, squeeze
from coldlens.datasets.tables import read_table
from coldlens.examples.example import ExampleSet, TokenPolicy

NAME = "axbench"
CONCEPTS = "axbench/concept10/metadata.jsonl"
ANSWERS = "axbench/concept10/train_data.parquet"


def load_axbench(
    name: str,
    split: str,
    prompt_format: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    policy: TokenPolicy | None = None,
) -> ExampleSet:
    """Reads the instructions of one split whose answers show a concept.

    The instructions of all concepts, and the neutral ones, are divided into 60, 20 and 20
    percent, so that no instruction is in two splits, whatever the concept. An unknown concept and
    a file that is missing or unreadable are a `DataError`.

    Args:
        name: `"axbench/<number>"`, or `"axbench/<concept>"` in small letters with hyphens, such
            as `"axbench/references-to-video-and-multimedia-content"`.
        split: `"train"`, `"validation"` or `"test"`.
        prompt_format: A key of `FORMATS`; None for `"question"`.
        folder: The folder that holds `axbench/`, see `locate`.
        policy: How strings become tokens; None for the one of the format.

    Returns:
        The examples, positive-only; each prompt once, with its first answer.
    """
    style = format_for(prompt_format, policy)
    listed = [
        (str(record.value("concept_id")), record.text("concept"))
        for record in read_table(locate(CONCEPTS, folder)).records
    ]
    number_of = {f"{NAME}/{number}": number for number, _ in listed}
    number_of |= {f"{NAME}/{_slug(concept)}": number for number, concept in listed}
    check_name(name, list(number_of), f"the concepts of {NAME}")
    number = number_of[name]
    table = read_table(locate(ANSWERS, folder))
    split_of = divided(
        (squeeze(record.text("input")) for record in table.records), NAME, ("validation", "test")
    )
    chosen = {}
    for record in table.records:
        question = record.text("input")
        if str(record.value("concept_id")) == number and split_of[squeeze(question)] == split:
            chosen.setdefault(squeeze(question), style.open(question, record.text("output")))
    return ExampleSet(
        tuple(chosen.values()),
        name=name,
        source=f"{name}, {split}: {dict(listed)[number]!r} of {ANSWERS} (sha256 {table.digest}, "
        f"{len(table.records)} rows)",
        policy=policy or style.policy(multiple_choice=False),
    )


def _slug(concept: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", concept.lower()))
