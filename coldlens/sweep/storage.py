"""The folder of a sweep: what was asked for, and one file for each method of each unit."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from pyarrow.parquet import read_table

from coldlens.errors import DataError
from coldlens.files import whole_file

FORMAT = "coldlens-sweep-2"
MARKER = "sweep.json"
CELLS = "cells"


def cell_name(key: tuple[str, str, str, int, int]) -> str:
    """Names the file of a method of a unit.

    Args:
        key: Behaviour, setting, method, size and seed.

    Returns:
        The file's name: readable, and different for different keys.
    """
    behaviour, setting, method, size, seed = key
    words = [behaviour, setting, f"n{size}", f"s{seed}", method]
    readable = "-".join(re.sub(r"[^A-Za-z0-9.=]+", "_", word).strip("_")[:60] for word in words)
    return f"{readable}-{hashlib.sha256(repr(key).encode()).hexdigest()[:8]}.parquet"


def begin(folder: Path, about: Mapping[str, Any]) -> None:
    """Prepares the folder, or checks that it holds the same sweep.

    Args:
        folder: The folder.
        about: What is asked for, as JSON can hold it.

    Raises:
        DataError: If the folder holds another sweep, or something else.
    """
    asked = {"format": FORMAT, **json.loads(json.dumps(about))}
    if (folder / MARKER).is_file():
        found = read_about(folder)
        for name in asked | found:
            if asked.get(name) != found.get(name):
                old, new = _difference(found.get(name), asked.get(name))
                raise DataError(
                    expected=f"the sweep that {folder} was begun with, {name} = {old}",
                    found=f"{name} = {new}",
                    fix="Choose another folder, or ask for the same sweep to go on with it",
                )
        return
    # What an interrupted write of the marker leaves is nothing.
    left = f".{MARKER}."
    if folder.exists() and not (
        folder.is_dir() and all(path.name.startswith(left) for path in folder.iterdir())
    ):
        raise DataError(
            expected="a new or empty folder, or one with a sweep to go on with",
            found=f"{folder}, which holds something else",
            fix="Choose another folder",
        )
    with whole_file(folder / MARKER) as part:
        part.write_text(json.dumps(asked, indent=2, ensure_ascii=False) + "\n")


def read_about(folder: Path) -> dict[str, Any]:
    """Reads what a sweep was asked for.

    Args:
        folder: The folder.

    Returns:
        The contents of `sweep.json`.

    Raises:
        DataError: If there is none of this format.
    """
    try:
        about = json.loads((folder / MARKER).read_text())
        found = about["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            expected="a folder with a sweep",
            found=f"{type(error).__name__}: {error} at {folder}",
            fix="Run sweep again, or check the path",
        ) from error
    if found != FORMAT:
        raise DataError(
            expected=f"a sweep of format {FORMAT}",
            found=f"{found!r} in {folder / MARKER}",
            fix="Run sweep again with this version of coldlens, in another folder",
        )
    return about


def write_cells(folder: Path, name: str, table: pd.DataFrame) -> None:
    """Writes the rows of a method, whole or not at all.

    Args:
        folder: The folder of the sweep.
        name: Name of the file.
        table: The rows.
    """
    with whole_file(folder / CELLS / name) as part:
        table.to_parquet(part, index=False)


def read_cells(folder: Path, name: str) -> pd.DataFrame:
    """Reads the rows of a method.

    Args:
        folder: The folder of the sweep.
        name: Name of the file.

    Returns:
        The rows.

    Raises:
        DataError: If the file is missing or damaged.
    """
    path = folder / CELLS / name
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(
            expected="a finished sweep",
            found=f"{type(error).__name__}: {error} at {path}",
            fix="Remove that file and run sweep again with the same arguments and folder",
        ) from error


def missing(folder: Path, names: list[str]) -> list[str]:
    """Lists the files that are not there yet, or damaged.

    Args:
        folder: The folder of the sweep.
        names: Names of all files.

    Returns:
        Those that are missing.
    """
    return [name for name in names if not _is_table(folder / CELLS / name)]


def _is_table(path: Path) -> bool:
    try:
        read_table(path)
    except (OSError, ValueError):
        return False
    return True


def _difference(old: Any, new: Any) -> tuple[str, str]:
    """Returns the parts of two values that differ, shortened."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in old | new:
            if old.get(name) != new.get(name):
                left, right = _difference(old.get(name), new.get(name))
                return f"{{{name}: {left}}}", f"{{{name}: {right}}}"
    return tuple(f"{text[:97]}…" if len(text) > 98 else text for text in (repr(old), repr(new)))  # pyright: ignore[reportReturnType]
