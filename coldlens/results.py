"""Results on the disk: tidy tables as CSV beside a JSON file that says where they came from."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
        text: By table, a column of text that may read like a number or a missing value.
    """

    maker: str
    format: str
    tables: Mapping[str, Sequence[str]]
    others: tuple[str, ...] = ()
    text: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> FolderKind:
        """The folder that holds such a result."""
        files = {f"{table}.csv" for table in self.tables} | set(self.others) | {MARKER}
        return FolderKind(MARKER, self.format, frozenset(files))


MARKER = "result.json"
TOKEN_IDS = "token_ids.json"
"""The ids that entered the model, of results that keep them: lists of ids by what they are."""


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
    with whole_folder(Path(folder), kind.folder) as part:
        for name in kind.tables:
            tables[name].to_csv(part / f"{name}.csv", index=False)
        rows = {name: len(tables[name]) for name in kind.tables}
        head = {**about, "format": kind.format, "rows": rows}
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
        fits = found == kind.format
        tables = {name: _table(source, kind, name, rows[name]) for name in kind.tables if fits}
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
    except (OSError, ValueError, KeyError, AttributeError, SafetensorError) as error:
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


def _table(folder: Path, kind: ResultKind, name: str, rows: int) -> pd.DataFrame:
    path = folder / f"{name}.csv"
    if name in kind.text:
        table = pd.read_csv(path, keep_default_na=False, dtype={kind.text[name]: "str"})
    else:
        table = pd.read_csv(path)
    missing = set(kind.tables[name]) - set(table.columns)
    if missing:
        raise ValueError(f"no column {', '.join(sorted(missing))} in {path.name}")
    if len(table) != rows:
        raise ValueError(f"{len(table)} rows instead of {rows} in {path.name}")
    return table
