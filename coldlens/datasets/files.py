"""A user's own examples in a JSON, JSON Lines or CSV file."""

import contextlib
import json
from pathlib import Path
from typing import Any

from coldlens.datasets.splits import SPLITS
from coldlens.datasets.tables import Record, read_table
from coldlens.errors import DataError, ExampleError
from coldlens.examples.example import Example, ExampleSet, TokenPolicy


def load_file(path: Path, split: str, policy: TokenPolicy | None = None) -> ExampleSet:
    """Reads examples with fields or columns `prompt`, `positive` and, if paired, `negative`.

    In JSON a field may be a list of token ids. Questions with a group's answers have `options`
    and `distribution`, which are lists (in CSV written as in JSON: `["A", "B"]`), and need no
    `positive`. Rows may say their split in `split`; where none does, all rows are `"train"`.

    Args:
        path: A `.json`, `.jsonl` or `.csv` file.
        split: Which rows: `"train"`, `"validation"` or `"test"`.
        policy: How strings become tokens; None for the default policy.

    Returns:
        The examples.

    Raises:
        DataError: If the file cannot be read, a row is not an example, or the file has no rows of
            the split.
    """
    table = read_table(path)
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
        )
    except ExampleError as error:
        raise DataError(
            expected=f"{error.expected} in {record.place}", found=error.found, fix=error.fix
        ) from error


def _blank(value: Any) -> bool:
    return value in (None, "", [])


def _list(record: Record, name: str) -> list[Any] | None:
    value = record.fields.get(name)
    if _blank(value):
        return None
    if isinstance(value, str):
        with contextlib.suppress(json.JSONDecodeError):
            value = json.loads(value)
    if not isinstance(value, list):
        raise DataError(
            expected=f"a list in field {name!r} of {record.place}",
            found=repr(value),
            fix='Write it as in JSON: ["A", "B"] or [0.7, 0.3]',
        )
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
