"""A user's own examples in a JSON, JSON Lines or CSV file."""

import contextlib
import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coldlens.datasets.splits import SPLITS
from coldlens.datasets.tables import Record, read_table
from coldlens.errors import DataError, ExampleError
from coldlens.examples.example import Example, ExampleSet, TokenPolicy

_FIELDS = ("prompt", "positive", "negative", "options", "distribution", "clusters", "split")


def load_file(path: Path, split: str, policy: TokenPolicy | None = None) -> ExampleSet:
    """Reads examples with fields or columns `prompt`, `positive` and, if paired, `negative`.

    In JSON a field may be a list of token ids. Questions with a group's answers have `options`
    and `distribution`, which are lists (in CSV written as in JSON: `["A", "B"]`), and need no
    `positive`. `clusters` are labels of what a row was made from, a list or a single one; all rows
    have as many. Rows may say their split in `split`; where none does, all rows are `"train"`.
    Other fields are left unread, unless they look like one of these misspelt: with other case or
    spaces, or nearly like one that is in none of their rows.

    Args:
        path: A `.json`, `.jsonl` or `.csv` file.
        split: Which rows: `"train"`, `"validation"` or `"test"`.
        policy: How strings become tokens; None for the default policy.

    Returns:
        The examples.

    Raises:
        DataError: If the file cannot be read, a field is misspelt, a row is not an example, or the
            file has no rows of the split.
    """
    table = read_table(path)
    _check_spelling(table.records)
    divided = any("split" in record.fields for record in table.records)
    splits = [_split(record) if divided else "train" for record in table.records]
    chosen = [each for each, of in zip(table.records, splits, strict=True) if of == split]
    if not chosen:
        raise DataError(
            expected=f"rows of split {split!r} in {path}",
            found=f"only {', '.join(sorted(map(repr, set(splits))))}"
            if divided
            else "no field or column 'split', so that every row is 'train'",
            fix="Ask for a split that is there, or say each row's split in a field 'split'",
        )
    return ExampleSet(
        tuple(map(_example, chosen)),
        name=path.stem,
        source=f"{path} (sha256 {table.digest}, {len(table.records)} rows), {split}",
        policy=policy or TokenPolicy(),
    )


def _check_spelling(records: Sequence[Record]) -> None:
    first = {name: record.place for record in reversed(records) for name in record.fields}
    for name, place in first.items():
        word = name.strip().lower()
        # Names with digits or underscores, such as prompt_id, are other fields.
        near = difflib.get_close_matches(word, _FIELDS, n=1, cutoff=0.8) if word.isalpha() else []
        if not near or name in _FIELDS:
            continue
        # Such as native beside negative, which is then another field.
        beside = any(near[0] in record.fields for record in records if name in record.fields)
        if word == near[0] or not beside:
            raise DataError(
                expected=f"no field that is nearly {near[0]!r} in {place}",
                found=repr(name),
                fix=f"Write {near[0]!r}, or give it another name to have it ignored",
            )


def _split(record: Record) -> str:
    value = record.value("split")
    if value not in SPLITS:
        raise DataError(
            expected=f"field 'split' of {record.place} to be one of {', '.join(SPLITS)}",
            found=repr(value),
            fix="Give every row a split, or none",
        )
    return value


def _example(record: Record) -> Example:
    prompt = _text_or_ids(record, "prompt", record.value("prompt"))
    options, distribution = _list(record, "options"), _list(record, "distribution")
    polled = options is not None or distribution is not None
    positive = record.fields.get("positive") if polled else record.value("positive")
    negative = record.fields.get("negative")
    try:
        return Example(
            prompt,
            None if polled and _blank(positive) else _text_or_ids(record, "positive", positive),
            None if _blank(negative) else _text_or_ids(record, "negative", negative),
            options=options and [_text_or_ids(record, "options", option) for option in options],
            distribution=distribution and [_number(record, share) for share in distribution],
            clusters=_labels(record),
        )
    except ExampleError as error:
        raise DataError(
            expected=f"{error.expected} in {record.place}", found=error.found, fix=error.fix
        ) from error


def _blank(value: Any) -> bool:
    return value in (None, "", [])


def _list(record: Record, name: str) -> list[Any] | None:
    given = record.fields.get(name)
    if _blank(given):
        return None
    value = _parsed(given)
    if not isinstance(value, list):
        raise DataError(
            expected=f"a list in field {name!r} of {record.place}",
            found=repr(value),
            fix='Write it as in JSON: ["A", "B"] or [0.7, 0.3]',
        )
    return value


def _labels(record: Record) -> list[str]:
    given = record.fields.get("clusters")
    if _blank(given):
        return []
    value = _parsed(given)
    labels: list[Any] = value if isinstance(value, list) else [given]
    if not all(isinstance(label, str) and label for label in labels):
        raise DataError(
            expected=f"a label or a list of labels in field 'clusters' of {record.place}",
            found=repr(given),
            fix='Write it as in JSON: ["first template", "second topic"]',
        )
    return labels


def _parsed(value: Any) -> Any:
    """Returns a value, read as JSON where it is text that is JSON."""
    if isinstance(value, str):
        with contextlib.suppress(json.JSONDecodeError):
            return json.loads(value)
    return value


def _number(record: Record, value: Any) -> float | int:
    if type(value) not in (int, float):
        raise DataError(
            expected=f"numbers in field 'distribution' of {record.place}",
            found=repr(value),
            fix="Write the probability of each option",
        )
    return value


def _text_or_ids(record: Record, name: str, value: Any) -> str | list[int]:
    ids = isinstance(value, list) and all(type(token) is int for token in value)
    if not (isinstance(value, str) or ids) or not value:
        raise DataError(
            expected=f"text or a list of token ids in field {name!r} of {record.place}",
            found=repr(value),
            fix="Fill it in, or remove the row",
        )
    return value
