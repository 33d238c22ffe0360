"""Weights that do not fit a model's configuration, as transformers reports them while it loads."""

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_ROW = re.compile(r"^(\S.*?) +\| \S*?(MISSING|MISMATCH)", re.MULTILINE)
_WHAT = {"MISSING": "is not in its files", "MISMATCH": "has another shape in its files"}
_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def unfit_weights() -> Iterator[list[str]]:
    """Collects the names of weights that a file lacks, or has in another shape.

    transformers draws missing ones at random and says so in a warning, which TransformerLens
    silences; here it is read, and stays silent. It is read whatever the caller's logging is, and
    what other threads report is left out.

    Yields:
        The names, each with what is wrong; filled while a model is loaded inside the block.
    """
    logger = logging.getLogger("transformers.modeling_utils")
    found: list[str] = []
    with _ONE_AT_A_TIME:
        here, disabled, enabled = threading.get_ident(), logger.disabled, logger.isEnabledFor

        def read(record: logging.LogRecord) -> bool:
            if threading.get_ident() == here:
                rows = _ROW.findall(record.getMessage())
                found.extend(f"{name} {_WHAT[what]}" for name, what in rows)
            return not disabled and enabled(record.levelno)

        # Of this logger alone: logging.disable and levels above it keep the others silent.
        logger.isEnabledFor = lambda level: level >= logging.WARNING or enabled(level)
        logger.disabled = False
        logger.addFilter(read)
        try:
            yield found
        finally:
            logger.removeFilter(read)
            logger.disabled = disabled
            del logger.isEnabledFor
