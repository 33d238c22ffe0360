"""Files and folders that are written whole or not at all."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coldlens.errors import DataError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a path to write to, and puts the file in place when the block has ended well.

    Args:
        path: Where the file goes; its folder is made if it is not there.

    Yields:
        The path to write to, beside the target.
    """
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
def whole_folder(folder: Path, marker: str) -> Iterator[Path]:
    """Gives an empty folder to write into, and puts it in place when the block has ended well.

    An earlier result in the same place is replaced; a folder of anything else is not touched.

    Args:
        folder: Where the result goes.
        marker: Name of a file that every result of this kind has.

    Yields:
        The folder to write into, beside the target.

    Raises:
        DataError: If the target exists and is not an earlier result.
    """
    check_replaceable(folder, marker)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(folder, "part")
    old = _beside(folder, "old")
    temporary.mkdir()
    try:
        yield temporary
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def check_replaceable(folder: Path, marker: str) -> None:
    """Checks that a result may be written to a folder, before the work starts.

    Args:
        folder: Where the result will go.
        marker: Name of a file that every result of this kind has.

    Raises:
        DataError: If the target exists and is neither empty nor an earlier result.
    """
    if folder.is_dir() and (not any(folder.iterdir()) or (folder / marker).is_file()):
        return
    if folder.exists():
        raise DataError(
            expected="a new or empty folder, or an earlier result",
            found=f"{folder}, which holds something else",
            fix="Choose another folder",
        )


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.{suffix}")
