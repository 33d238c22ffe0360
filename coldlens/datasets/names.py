"""Names that are not known: what to say, and what to suggest in their place."""

import difflib
from collections.abc import Iterable, Sequence

from coldlens.errors import DataError


def suggestion(name: str, known: Iterable[str]) -> str:
    """The sentence that helps after a name that is not known.

    Args:
        name: What was asked for.
        known: The names that exist.

    Returns:
        `"Perhaps you mean 'caa/refusal'"`, or a general advice where no name is near.
    """
    nearest = difflib.get_close_matches(name, list(known), n=1)
    return f"Perhaps you mean {nearest[0]!r}" if nearest else "Use one of the names listed"


def check_name(name: str, known: Sequence[str], what: str) -> None:
    """Refuses a name that a data set does not have.

    Args:
        name: The whole name, such as `"caa/refusal"`.
        known: The whole names that exist.
        what: What they are, for the message, such as `"the behaviours of caa"`.

    Raises:
        DataError: If the name is not one of them.
    """
    if name not in known:
        raise DataError(
            expected=f"one of {what}: {', '.join(map(repr, known))}",
            found=repr(name),
            fix=suggestion(name, known),
        )
