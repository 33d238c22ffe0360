"""OpinionsQA (Santurkar et al. 2023): how groups of people answer the questions of opinion polls.

The files are those of a study of distributional alignment (Meister et al. 2024),
`human_resp/<wave>/<ATTRIBUTE>_data.json` and `info.csv`. They state no licence, so they are never
downloaded.
"""

import ast
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coldlens.datasets.fetch import ENVIRONMENT, data_folder
from coldlens.datasets.formats import format_for
from coldlens.datasets.names import check_name
from coldlens.datasets.splits import divided, squeeze
from coldlens.datasets.tables import Record, Table, read_keyed, read_table
from coldlens.errors import DataError
from coldlens.examples.example import ExampleSet, TokenPolicy

NAME = "opinions_qa"
REFUSED = "Refused"
_ENDING = "_data.json"


@dataclass(frozen=True)
class Poll:
    """A question and who gave which answer.

    Attributes:
        key: The question's name.
        question: Its wording, in normal white space.
        people: How many people gave each answer, by group.
    """

    key: str
    question: str
    people: dict[str, dict[str, float]]


def load_opinions(
    name: str,
    split: str,
    prompt_format: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    policy: TokenPolicy | None = None,
) -> ExampleSet:
    """Reads how one group answers the questions of one split.

    The distribution is that of the answers other than refusals: qᵢ[k] = nₖ / Σⱼ nⱼ, with nₖ the
    people who chose option k. The prompt does not name the group. The questions of all waves are
    put together, each once, and divided by their wording into 60, 20 and 20 percent, the same
    for every group. Left out and counted in `source` are questions

    - that under the same key are worded or answered in another way in another wave;
    - whose answers are not its options: upstream has lost the answers "None", which a reader of
      tables took for missing values;
    - with fewer than two options;
    - that nobody of the group answered.

    Options come from `info.csv`: the lists in the other files are cut at every comma. A file that
    is missing or unreadable and an unknown group are a `DataError`.

    Args:
        name: `"opinions_qa/<ATTRIBUTE>/<group>"`, such as `"opinions_qa/POLPARTY/Democrat"`.
        split: `"train"`, `"validation"` or `"test"`.
        prompt_format: A key of `FORMATS`; None for `"question"`.
        folder: The folder that holds `opinions_qa/`; None for the one that `COLDLENS_DATA` names.
        policy: How strings become tokens; None for the one of the format.

    Returns:
        The examples, whose options are letters.
    """
    style = format_for(prompt_format, policy)
    root = _root(folder)
    attribute, _, group = name.removeprefix(f"{NAME}/").partition("/")
    attributes = sorted({path.name.removesuffix(_ENDING) for path in root.glob(f"*/*{_ENDING}")})
    known = [f"{NAME}/{each}" for each in attributes]
    check_name(f"{NAME}/{attribute}", known, f"the attributes of {NAME}")
    files = sorted(root.glob(f"*/{attribute}{_ENDING}"))
    tables = [read_keyed(path) for path in files]
    found = [_poll(record) for table in tables for record in table.records]
    groups = sorted({each for poll in found for each in poll.people})
    known = [f"{NAME}/{attribute}/{each}" for each in groups]
    check_name(f"{NAME}/{attribute}/{group}", known, f"the groups of {NAME}")

    options = _options(root)
    split_of = divided((poll.question for poll in found), NAME, ("validation", "test"))
    by_key = {poll.key: poll for poll in found}
    changed = {poll.key for poll in found if poll != by_key[poll.key]}
    faults = {
        key: "that differ between waves"
        if key in changed
        else _fault(poll, options.get(key, ()), group)
        for key, poll in by_key.items()
    }
    examples = []
    for key, poll in by_key.items():
        if faults[key] is None and split_of[poll.question] == split:
            choices = [option for option in options[key] if option != REFUSED]
            people = [poll.people[group].get(option, 0) for option in choices]
            shares = [number / sum(people) for number in people]
            examples.append(style.poll(poll.question, choices, shares))
    return ExampleSet(
        tuple(examples),
        name=name,
        source=f"{name}, {split}: {_origin(files, tables)}, {_left_out(faults)}",
        policy=policy or style.policy(multiple_choice=True),
    )


def _root(folder: str | os.PathLike[str] | None) -> Path:
    parent = data_folder(folder)
    if parent is None or not (parent / NAME / "human_resp").is_dir():
        raise DataError(
            expected=f"a folder with {NAME}/human_resp/, which coldlens does not download, for it "
            "states no licence",
            found="no folder" if parent is None else f"none in {parent}",
            fix=f"Pass as folder=, or set {ENVIRONMENT} to, the folder that holds {NAME}/, from "
            "nicolemeister/benchmarking-distributional-alignment",
        )
    return parent / NAME / "human_resp"


def _poll(record: Record) -> Poll:
    people = {}
    for group in record.fields.keys() - {"key", "question_text", "MC_options"}:
        answers = record.fields[group]
        if not isinstance(answers, dict) or not all(
            isinstance(number, int | float) and number >= 0 for number in answers.values()
        ):
            raise DataError(
                expected=f"the number of people by answer in field {group!r} of {record.place}",
                found=repr(answers),
                fix="Fetch the file again",
            )
        people[group] = {answer: float(number) for answer, number in answers.items()}
    return Poll(record.value("key"), squeeze(record.text("question_text")), people)


def _options(root: Path) -> dict[str, Sequence[str]]:
    options = {}
    for path in sorted(root.glob("*/info.csv")):
        for record in read_table(path).records:
            try:
                listed = ast.literal_eval(record.text("references"))
            except (ValueError, SyntaxError):
                listed = None
            if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
                raise DataError(
                    expected=f"a list of answers in field 'references' of {record.place}",
                    found=record.text("references"),
                    fix="Fetch the file again",
                )
            options[record.text("key")] = listed
    if not options:
        raise DataError(
            expected=f"a file info.csv, with the options of each question, in a folder of {root}",
            found="none",
            fix="Fetch it from where the other files are from",
        )
    return options


def _fault(poll: Poll, options: Sequence[str], group: str) -> str | None:
    given = {answer for people in poll.people.values() for answer in people}
    if given | {REFUSED} != {*options, REFUSED}:
        return "whose answers are not its options"
    if len(given - {REFUSED}) < 2:
        return "with fewer than two options"
    people = poll.people.get(group, {})
    answered = sum(number for answer, number in people.items() if answer != REFUSED)
    return None if answered else "that nobody of the group answered"


def _origin(files: Sequence[Path], tables: Sequence[Table]) -> str:
    return ", ".join(
        f"{'/'.join(file.parts[-4:])} (sha256 {table.digest}, {len(table.records)} questions)"
        for file, table in zip(files, tables, strict=True)
    )


def _left_out(faults: dict[str, str | None]) -> str:
    counts = Counter(fault for fault in faults.values() if fault is not None)
    listed = " and ".join(f"{number} {fault}" for fault, number in sorted(counts.items()))
    return f"of {len(faults)} questions left out {listed or 'none'}"
