"""Rows of JSON, JSON Lines, CSV and Parquet files, each with the place that it came from."""

import csv
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from coldlens.errors import DataError


@dataclass(frozen=True)
class Record:
    """One row of a file.

    Attributes:
        place: File and row, for messages.
        fields: The row's values by column or field name.
    """

    place: str
    fields: dict[str, Any]

    def value(self, name: str) -> Any:
        """The value of a field that must be there.

        Args:
            name: The field or column.

        Returns:
            Its value.

        Raises:
            DataError: If the row has no such field.
        """
        if name not in self.fields:
            raise DataError(
                expected=f"a field or column {name!r} in {self.place}",
                found=", ".join(map(repr, self.fields)) or "no fields",
                fix=f"Add or rename a field so that each row has {name!r}",
            )
        return self.fields[name]

    def text(self, name: str) -> str:
        """The value of a field that must be text and not blank.

        Args:
            name: The field or column.

        Returns:
            The text, without white space around it.

        Raises:
            DataError: If the field is missing, blank or not text.
        """
        value = self.value(name)
        if not isinstance(value, str) or not value.strip():
            raise DataError(
                expected=f"text in field {name!r} of {self.place}",
                found=repr(value),
                fix="Correct the file there, or fetch it again",
            )
        return value.strip()


@dataclass(frozen=True)
class Table:
    """A file's rows and its fingerprint.

    Attributes:
        records: The rows, at least one.
        digest: The first 12 hexadecimal digits of the file's SHA-256.
    """

    records: tuple[Record, ...]
    digest: str


def read_table(path: Path) -> Table:
    """Reads a `.json`, `.jsonl`, `.csv` or `.parquet` file.

    Args:
        path: The file, text in UTF-8; `.json` holds a list of objects, `.jsonl` one object a
            line, `.csv` a header and rows.

    Returns:
        Its rows.

    Raises:
        DataError: If the file is missing, cannot be decoded or parsed, or has no rows.
    """
    data = _contents(path)
    if path.suffix == ".parquet":
        records = _read_parquet(path, data)
    else:
        records = _READERS[path.suffix](path, _decoded(path, data))
    if not records:
        raise DataError(
            expected=f"at least one row in {path}",
            found="no rows" if data.strip() else "an empty file",
            fix="Write 10 to 50 examples into it",
        )
    return Table(tuple(records), _digest(data))


def read_keyed(path: Path) -> Table:
    """Reads a `.json` file that holds an object of objects.

    Args:
        path: The file, in UTF-8.

    Returns:
        Its objects as rows, each with its own name in field `"key"`.

    Raises:
        DataError: If the file is missing or cannot be decoded or parsed, or is another kind.
    """
    data = _contents(path)
    items = _parse_json(_decoded(path, data), str(path))
    if not isinstance(items, dict) or not items:
        raise DataError(
            expected=f"an object with a field for each question in {path}",
            found=type(items).__name__ if items else "an empty one",
            fix="Fetch the file again",
        )
    records = [_object(item, f"{path}, {key!r}") for key, item in items.items()]
    return Table(
        tuple(
            Record(record.place, {"key": key, **record.fields})
            for key, record in zip(items, records, strict=True)
        ),
        _digest(data),
    )


def _contents(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            expected=f"a readable file {path}",
            found=error.strerror or type(error).__name__,
            fix="Check the path, relative to the working directory",
        ) from error


def _decoded(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            expected=f"UTF-8 text in {path}",
            found=f"a byte that is not UTF-8 at offset {error.start}",
            fix="Save the file as UTF-8",
        ) from error


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


def _object(value: Any, place: str) -> Record:
    if not isinstance(value, dict):
        raise DataError(
            expected=f"an object with named fields in {place}",
            found=type(value).__name__,
            fix='Write each example as {"prompt": ..., "positive": ..., "negative": ...}',
        )
    return Record(place, value)


def _parse_json(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            expected=f"valid JSON in {place}",
            found=f"{error.msg} at line {error.lineno}, column {error.colno}",
            fix="Correct the file there, or fetch it again",
        ) from error


def _read_json(path: Path, text: str) -> list[Record]:
    if not text.strip():
        return []
    items = _parse_json(text, str(path))
    if not isinstance(items, list):
        raise DataError(
            expected=f"a list of objects in {path}",
            found=type(items).__name__,
            fix="Put the examples into one JSON list, or save one object a line as .jsonl",
        )
    return [_object(item, f"{path}, item {number}") for number, item in enumerate(items, 1)]


def _read_jsonl(path: Path, text: str) -> list[Record]:
    lines = enumerate(text.split("\n"), 1)
    return [
        _object(_parse_json(line, f"{path}:{number}"), f"{path}:{number}")
        for number, line in lines
        if line.strip()
    ]


def _read_csv(path: Path, text: str) -> list[Record]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = [row for row in reader if row]
    except csv.Error as error:
        raise DataError(
            expected=f"valid CSV in {path}",
            found=f"{error} at line {reader.line_num}",
            fix="Quote cells that hold commas, quotation marks or line breaks",
        ) from error
    header = rows[0] if rows else []
    repeated = sorted({name for name in header if name and header.count(name) > 1})
    if repeated:
        raise DataError(
            expected=f"columns with different names in {path}",
            found=f"{', '.join(map(repr, repeated))} more than once",
            fix="Rename or remove all but one",
        )
    records = []
    for number, row in enumerate(rows[1:], 1):
        if len(row) != len(header):
            raise DataError(
                expected=f"{len(header)} columns ({', '.join(header)}) in {path}, row {number}",
                found=f"{len(row)}",
                fix="Quote cells that hold commas, and leave no cell out",
            )
        records.append(Record(f"{path}, row {number}", dict(zip(header, row, strict=True))))
    return records


def _read_parquet(path: Path, data: bytes) -> list[Record]:
    try:
        frame = pd.read_parquet(io.BytesIO(data))
    except (ValueError, OSError) as error:
        raise DataError(
            expected=f"a Parquet file {path}",
            found=str(error).splitlines()[0],
            fix="Fetch the file again",
        ) from error
    return [
        Record(f"{path}, row {number}", row)
        for number, row in enumerate(frame.to_dict("records"), 1)
    ]


_READERS = {".json": _read_json, ".jsonl": _read_jsonl, ".csv": _read_csv}
SUFFIXES = tuple(_READERS)
"""Endings of the files that a user's own examples may be in."""
