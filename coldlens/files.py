"""Files and folders that are written whole or not at all."""

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coldlens.errors import ArgumentError, DataError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a path to write to, and puts the file in place when the block has ended well.

    Args:
        path: Where the file goes; its folder is made if it is not there.

    Yields:
        The path to write to, beside the target.

    Raises:
        DataError: If the path is a folder, or its place cannot be written.
    """
    check_writable(path)
    path = path.resolve()
    if path.is_dir():
        raise DataError(
            expected="the path of a file", found=f"the folder {path}", fix="Add a file name"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path, "part")
    temporary.touch()
    mode = temporary.stat().st_mode
    try:
        yield temporary
        temporary.chmod(mode)  # some writers make files that only their owner can read
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path, kind: "FolderKind") -> Iterator[Path]:
    """Gives an empty folder to write into, and puts it in place when the block has ended well.

    An earlier result of the same kind is replaced; a folder with anything else in it is refused.

    Args:
        folder: Where the result goes.
        kind: What the result looks like.

    Yields:
        The folder to write into, beside the target.
    """
    check_replaceable(folder, kind)
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(folder, "part")
    old = _beside(folder, "old")
    temporary.mkdir()
    try:
        yield temporary
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
    except BaseException:
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


@dataclass(frozen=True)
class FolderKind:
    """What a result folder looks like.

    Attributes:
        marker: Name of its JSON file with a field `format`.
        format: The value of that field.
        names: Every file that it may hold.
    """

    marker: str
    format: str
    names: frozenset[str]

    def fits(self, folder: Path) -> bool:
        """Returns whether a folder holds an earlier result of this kind and nothing else."""
        try:
            head = json.loads((folder / self.marker).read_text())
            known = head["format"] == self.format
        except (OSError, ValueError, TypeError, KeyError):
            return False
        return known and {path.name for path in folder.iterdir()} <= self.names


def check_replaceable(folder: Path, kind: FolderKind) -> None:
    """Checks that a result may be written to a folder, before the work starts.

    Args:
        folder: Where the result will go.
        kind: What the result looks like.

    Raises:
        DataError: If the target exists and is neither empty nor an earlier result and nothing
            else, or its place cannot be written.
    """
    check_writable(folder)
    target = folder.resolve()
    free = not target.exists() or (target.is_dir() and not any(target.iterdir()))
    if not free and not (target.is_dir() and kind.fits(target)):
        raise DataError(
            expected="a new or empty folder, or an earlier result and nothing else",
            found=f"{folder}, which holds something else",
            fix="Choose another folder",
        )


def check_writable(path: Path) -> None:
    """Checks that a file or folder can be made, by making an empty folder and removing it.

    Permissions alone do not tell: some file systems refuse whoever asks.

    Args:
        path: Where the file or folder will go; its own folder need not be there.

    Raises:
        DataError: If its place cannot be written.
    """
    try:
        target = path.resolve()
        place = next(folder for folder in (*target.parents, target) if os.path.lexists(folder))
        Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=place)).rmdir()
    except (OSError, RuntimeError) as error:  # the latter of links in a circle, in Python 3.11
        raise DataError(
            expected="a place that can be written",
            found=f"{path}, which cannot be written ({getattr(error, 'strerror', error)})",
            fix="Choose another place",
        ) from error


def as_path(path: Any) -> Path:
    """Returns a path that a user gave.

    Args:
        path: A string or a path.

    Returns:
        The path.

    Raises:
        ArgumentError: If it is neither.
    """
    if not isinstance(path, str | os.PathLike):
        raise ArgumentError(
            expected="a path, a string or a pathlib.Path", found=repr(path), fix="Name a file"
        )
    return Path(path)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.{suffix}")
