"""Checks of single arguments, with one kind of message."""

import math
from collections.abc import Sequence
from typing import Any

from coldlens.errors import ArgumentError


def one_of(name: str, value: Any, allowed: Sequence[str]) -> None:
    """Checks that an argument is one of a few words.

    Args:
        name: The argument.
        value: What was given.
        allowed: The words.

    Raises:
        ArgumentError: If it is another value.
    """
    if not isinstance(value, str) or value not in allowed:
        raise ArgumentError(
            expected=f"{name} among {', '.join(map(repr, allowed))}",
            found=f"{name} = {value!r}",
            fix="Choose one of them",
        )


def above_zero(name: str, value: Any) -> None:
    """Checks that an argument is a positive, finite number.

    Args:
        name: The argument.
        value: What was given.

    Raises:
        ArgumentError: If it is not.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf:
        raise ArgumentError(
            expected=f"{name} > 0, a finite number",
            found=f"{name} = {value!r}",
            fix="See the docstring for the usual value",
        )
