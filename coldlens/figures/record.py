"""Tables of an analysis on the disk: where they came from, and whether they are still wanted."""

import hashlib
import json
import logging
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from coldlens.errors import DataError
from coldlens.examples.example import ExampleSet
from coldlens.files import check_replaceable
from coldlens.results import ResultKind, loaded, saved
from coldlens.steering.provenance import PACKAGES

logger = logging.getLogger(__name__)

Tables = dict[str, pd.DataFrame]


def made(
    folder: Path,
    kind: ResultKind,
    wanted: Mapping[str, Any],
    measure: Callable[[], Tables],
    *,
    beside: Callable[[], Mapping[str, Any]] = dict,
    force: bool = False,
) -> Tables:
    """Measures and writes the tables of an analysis, unless the wanted ones are there already.

    Date, versions and run time go into the record `result.json` and never into a table, so that
    equal settings give equal tables.

    Args:
        folder: Where they go.
        kind: What they look like.
        wanted: What decides about their numbers: settings, model and fingerprint, data and hash.
            Tables that were made with the same are not made again.
        measure: Makes them.
        beside: Says, when they were made, what else the record should hold.
        force: Make them again all the same.

    Returns:
        The tables by name, as they are on the disk.
    """
    goal = json.loads(json.dumps(dict(wanted)))
    if not force and _there(folder, kind, goal):
        logger.info("%s: as wanted, not made again", folder)
        return loaded(folder, kind)[0]
    check_replaceable(folder, kind.folder)
    started = time.perf_counter()
    tables = measure()
    seconds = round(time.perf_counter() - started, 1)
    about = {**goal, **circumstances(), **beside(), "seconds": seconds}
    with saved(folder, kind, tables, about):
        pass
    logger.info("%s: made in %.0f s", folder, seconds)
    return loaded(folder, kind)[0]


def circumstances() -> dict[str, Any]:
    """Returns date, platform and versions, as JSON can hold them."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
        },
    }


def combined_hash(sets: Iterable[ExampleSet]) -> str:
    """Identifies several sets of examples.

    Args:
        sets: The sets.

    Returns:
        SHA-256 of their hashes, in order.
    """
    return hashlib.sha256(" ".join(part.hash() for part in sets).encode()).hexdigest()


def _there(folder: Path, kind: ResultKind, goal: Mapping[str, Any]) -> bool:
    try:
        about = loaded(folder, kind)[1]
    except DataError:
        return False
    return all(about.get(name) == value for name, value in goal.items())
