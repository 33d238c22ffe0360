"""Memory that was freed, given back to the system."""

import ctypes
from functools import cache
from typing import Any


def release() -> None:
    """Gives back what the C library keeps of freed memory, where it can be told to (glibc)."""
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    try:
        return getattr(ctypes.CDLL(None), "malloc_trim", None)
    except (OSError, TypeError):
        return None
