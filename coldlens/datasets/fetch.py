"""Files of public data sets: found in a folder, or downloaded and checked by SHA-256."""

import os
from pathlib import Path

import pooch

from coldlens.errors import DataError

ENVIRONMENT = "COLDLENS_DATA"
UPSTREAM = {
    "caa": "https://raw.githubusercontent.com/nrimsky/CAA/HEAD/datasets/",
    "bipo": "https://raw.githubusercontent.com/CaoYuanpu/BiPO/"
    "a577418426088a51c2bc6d8d7251554f896e4298/data/",
    "axbench/concept10": "https://raw.githubusercontent.com/stanfordnlp/axbench/HEAD/"
    "axbench/concept10/prod_2b_l10_v1/generate/",
}
"""Where the files of each folder are downloaded from."""
REGISTRY = Path(__file__).with_name("registry.txt")
"""One line a file: its name and its SHA-256."""


def registered_hashes() -> dict[str, str]:
    """Reads the registry.

    Returns:
        The SHA-256 of each file that may be downloaded, by its name such as
        `"caa/test/refusal/test_dataset_ab.json"`.
    """
    lines = REGISTRY.read_text(encoding="utf-8").splitlines()
    return {name: digest for name, _, digest in (line.partition(" ") for line in lines)}


def data_folder(folder: str | os.PathLike[str] | None) -> Path | None:
    """Returns the folder of data sets that is asked for or set in `COLDLENS_DATA`, if any."""
    root = folder or os.environ.get(ENVIRONMENT)
    return Path(root) if root else None


def locate(name: str, folder: str | os.PathLike[str] | None) -> Path:
    """Finds a file of a public data set.

    Args:
        name: Its name, such as `"caa/test/refusal/test_dataset_ab.json"`.
        folder: The folder that holds `caa/`, `bipo/` and the others, or None for the one that
            `COLDLENS_DATA` names; where that is not set either, the file is downloaded.

    Returns:
        Its path.

    Raises:
        DataError: If the folder does not have it, or it cannot be downloaded.
    """
    root = data_folder(folder)
    if root is None:
        return fetch(name)
    path = root / name
    if not path.is_file():
        raise DataError(
            expected=f"the file {path}",
            found="no such file" if root.is_dir() else f"no folder {root}",
            fix=f"Pass as folder=, or set {ENVIRONMENT} to, the folder that holds "
            f"{name.split('/')[0]}/; with neither, a registered file is downloaded",
        )
    return path


def fetch(name: str) -> Path:
    """Downloads a file into the user's cache, unless the right one is already there.

    Args:
        name: Its name, such as `"caa/test/refusal/test_dataset_ab.json"`.

    Returns:
        Its path in the cache.

    Raises:
        DataError: If its SHA-256 is not registered, or the download fails or has another one.
    """
    prefix = next(each for each in UPSTREAM if name.startswith(f"{each}/"))
    url = UPSTREAM[prefix] + name.removeprefix(f"{prefix}/")
    by_hand = (
        f"Save {url} as {name} in a folder of yours, and pass that as folder= "
        f"or set {ENVIRONMENT} to it"
    )
    known = registered_hashes().get(name)
    if known is None:
        raise DataError(
            expected=f"a registered SHA-256 of {name}, to check the download by",
            found="none",
            fix=by_hand,
        )
    cache = Path(pooch.os_cache("coldlens")) / Path(name).parent
    try:
        path = pooch.retrieve(url, known_hash=known, fname=Path(name).name, path=cache)
    except OSError as error:
        raise DataError(
            expected=f"to download {url}", found=str(error) or type(error).__name__, fix=by_hand
        ) from error
    except ValueError as error:
        raise DataError(
            expected=f"a file with SHA-256 {known} at {url}",
            found="a file with another one, which was not kept",
            fix=f"The upstream file changed or the download is damaged: try again. {by_hand}",
        ) from error
    return Path(path)
