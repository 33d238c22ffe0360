"""Results on the disk: tidy tables as CSV beside a JSON file that says where they came from."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors import SafetensorError

from coldlens.errors import DataError
from coldlens.files import FolderKind, whole_folder


@dataclass(frozen=True)
class ResultKind:
    """What a saved result looks like.

    Attributes:
        maker: The function that makes it, for messages.
        format: Name and version of the format.
        tables: Columns that must be there, by table; a table may have more.
        others: Names of the files that it may hold beside tables and `result.json`.
    """

    maker: str
    format: str
    tables: Mapping[str, Sequence[str]]
    others: tuple[str, ...] = ()

    @property
    def folder(self) -> FolderKind:
        """The folder that holds such a result."""
        files = {f"{table}.csv" for table in self.tables} | set(self.others) | {MARKER}
        return FolderKind(MARKER, self.format, frozenset(files))


MARKER = "result.json"
TOKEN_IDS = "token_ids.json"
"""The ids that entered the model, of results that keep them: lists of ids by what they are."""

Texts = dict[str, list[int]]
"""The columns of a table that hold strings, and the rows that have none: CSV says neither."""


@contextmanager
def saved(
    folder: str | Path,
    kind: ResultKind,
    tables: Mapping[str, pd.DataFrame],
    about: Mapping[str, Any],
) -> Iterator[Path]:
    """Writes a result, whole or not at all.

    Args:
        folder: Where it goes.
        kind: What it looks like.
        tables: The tables by name.
        about: Where it came from, as JSON can hold it.

    Yields:
        The folder being written, for other files.
    """
    assert tables.keys() == kind.tables.keys(), "tables that the kind does not name"
    with whole_folder(Path(folder), kind.folder) as part:
        for name in kind.tables:
            _write_table(part / f"{name}.csv", tables[name])
        rows = {name: len(tables[name]) for name in kind.tables}
        texts = {name: found for name in kind.tables if (found := _texts(tables[name]))}
        head = {**about, "format": kind.format, "rows": rows, "texts": texts}
        (part / MARKER).write_text(json.dumps(head, indent=2, ensure_ascii=False) + "\n")
        yield part


def loaded(folder: str | Path, kind: ResultKind) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """Reads a saved result.

    Args:
        folder: The folder.
        kind: What it must look like.

    Returns:
        The tables by name, and where they came from.

    Raises:
        DataError: If the folder is no such result or a file of it is damaged.
    """
    source = Path(folder)
    with reading(source, kind):
        about = json.loads((source / MARKER).read_text())
        found, rows = about.pop("format"), about.pop("rows", {})
        fits, texts = found == kind.format, about.pop("texts", {})
        tables = {
            name: _table(source / f"{name}.csv", wanted, rows[name], texts.get(name, {}))
            for name, wanted in kind.tables.items()
            if fits
        }
    if not fits:
        raise DataError(
            expected=f"a result of format {kind.format}",
            found=f"{found!r} in {source / MARKER}",
            fix=f"Run {kind.maker} again with this version of coldlens",
        )
    return tables, about


@contextmanager
def reading(folder: str | Path, kind: ResultKind) -> Iterator[None]:
    """Says of a file that cannot be read which result it belongs to.

    Args:
        folder: The folder of the result.
        kind: What it must look like.

    Yields:
        Nothing.

    Raises:
        DataError: If a file is missing or damaged.
    """
    try:
        yield
    except (OSError, ValueError, KeyError, AttributeError, csv.Error, SafetensorError) as error:
        raise DataError(
            expected=f"a folder with the saved result of {kind.maker}",
            found=f"{type(error).__name__}: {error} at {folder}",
            fix=f"Run {kind.maker} again, or check the path",
        ) from error


def write_token_ids(part: Path, token_ids: Mapping[str, Sequence[Any]]) -> None:
    """Writes the ids that entered the model beside the tables.

    Args:
        part: The folder being written.
        token_ids: The ids.
    """
    (part / TOKEN_IDS).write_text(json.dumps(token_ids))


def read_token_ids(folder: str | Path, kind: ResultKind) -> dict[str, list[Any]]:
    """Reads them back.

    Args:
        folder: The folder of the result.
        kind: What it must look like.

    Returns:
        The ids.
    """
    with reading(folder, kind):
        return json.loads((Path(folder) / TOKEN_IDS).read_text())


def _texts(table: pd.DataFrame) -> Texts:
    return {
        str(name): np.flatnonzero(column.isna()).tolist()
        for name, column in table.items()
        if pd.api.types.infer_dtype(column, skipna=True) == "string"
    }


def _write_table(path: Path, table: pd.DataFrame) -> None:
    # A carriage return is only quoted where rows end in one.
    returns = any("\r" in str(cell) for name in _texts(table) for cell in table[name])
    ends = "\r\n" if returns else "\n"
    table.to_csv(path, index=False, lineterminator=ends)


@contextmanager
def _fields_of(length: int) -> Iterator[None]:
    """Lets `csv` read fields of up to this length, where its limit for the process is less."""
    limit = csv.field_size_limit()
    csv.field_size_limit(max(limit, length))
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _table(path: Path, wanted: Sequence[str], rows: int, texts: Texts) -> pd.DataFrame:
    table = pd.read_csv(path, dtype=dict.fromkeys(texts, "str"), skip_blank_lines=False)
    missing = set(wanted) - set(table.columns)
    if missing:
        raise ValueError(f"no column {', '.join(sorted(missing))} in {path.name}")
    if len(table) != rows:
        raise ValueError(f"{len(table)} rows instead of {rows} in {path.name}")
    with path.open(newline="", encoding="utf-8") as file, _fields_of(path.stat().st_size):
        # pandas ends a string at a null character, which is a token of byte-level vocabularies.
        cells = list(csv.DictReader(file)) if texts else []
    for name, lacking in texts.items():
        found = pd.Series([row[name] for row in cells])
        table[name] = found.mask(found.index.isin(lacking))
    return table
