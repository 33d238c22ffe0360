"""Weights that do not fit a model's configuration, as transformers reports them while it loads."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

_ROW = re.compile(r"^(\S.*?) +\| \S*?(MISSING|MISMATCH)", re.MULTILINE)
_WHAT = {"MISSING": "is not in its files", "MISMATCH": "has another shape in its files"}


@contextmanager
def unfit_weights() -> Iterator[list[str]]:
    """Collects the names of weights that a file lacks, or has in another shape.

    transformers draws missing ones at random and says so in a warning, which TransformerLens
    silences; here it is read, and stays silent.

    Yields:
        The names, each with what is wrong; filled while a model is loaded inside the block.
    """
    logger = logging.getLogger("transformers.modeling_utils")
    level, shown = logger.level, logger.getEffectiveLevel()
    found: list[str] = []

    def read(record: logging.LogRecord) -> bool:
        found.extend(f"{name} {_WHAT[what]}" for name, what in _ROW.findall(record.getMessage()))
        return record.levelno >= shown

    logger.addFilter(read)
    logger.setLevel(min(shown, logging.WARNING))
    try:
        yield found
    finally:
        logger.setLevel(level)
        logger.removeFilter(read)
