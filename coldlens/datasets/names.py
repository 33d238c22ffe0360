"""What to suggest in place of a name that is not known."""

import difflib
from collections.abc import Iterable


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
