"""Checks of single arguments, with one kind of message."""

import math
import operator
from collections.abc import Iterable, Sequence
from numbers import Real
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
    if not is_real(value) or not 0 < value < math.inf:
        raise ArgumentError(
            expected=f"{name} > 0, a finite number",
            found=f"{name} = {value!r}",
            fix="See the docstring for the usual value",
        )


def between(name: str, value: Any, low: float | int, high: float | int) -> None:
    """Checks that an argument is a number in an open interval.

    Args:
        name: The argument.
        value: What was given.
        low: What it must be above.
        high: What it must be below.

    Raises:
        ArgumentError: If it is not.
    """
    if not is_real(value) or not low < value < high:
        raise ArgumentError(
            expected=f"{name} between {low} and {high}",
            found=f"{name} = {value!r}",
            fix="See the docstring for the usual value",
        )


def finite(name: str, value: Any) -> None:
    """Checks that an argument is a finite number.

    Args:
        name: The argument.
        value: What was given.

    Raises:
        ArgumentError: If it is not.
    """
    if not is_real(value) or not math.isfinite(value):
        raise ArgumentError(
            expected=f"a finite {name}",
            found=f"{name} = {value!r}",
            fix="Pass an int or a float",
        )


def at_least(least: int, name: str, value: Any) -> None:
    """Checks that an argument is an integer that is large enough.

    Args:
        least: The smallest one allowed.
        name: The argument.
        value: What was given.

    Raises:
        ArgumentError: If it is not.
    """
    if not is_whole(value) or value < least:
        raise ArgumentError(
            expected=f"{name} >= {least}, an integer",
            found=f"{name} = {value!r}",
            fix="See the docstring for the usual value",
        )


def is_whole(value: Any) -> bool:
    """Returns whether a value is an integer of any type, but no bool."""
    try:
        operator.index(value)
    except TypeError:
        return False
    return not isinstance(value, bool)


def is_real(value: Any) -> bool:
    """Returns whether a value is a number of any type, but no bool."""
    return isinstance(value, Real) and not isinstance(value, bool)


def several(name: str, value: Any, what: str) -> None:
    """Checks that an argument holds several things, and is no string.

    Args:
        name: The argument.
        value: What was given.
        what: The things, for the message.

    Raises:
        ArgumentError: If it is not.
    """
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ArgumentError(
            expected=f"{name}, a list of {what}",
            found=f"{name} = {value!r}",
            fix="Put a single one in a list too",
        )
