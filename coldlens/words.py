"""Numbers with the things that they count."""


def counted(number: int, thing: str) -> str:
    """Returns `"1 example"`, `"2 examples"`.

    Args:
        number: How many.
        thing: What, in the singular; its plural ends in s.

    Returns:
        The number with its noun.
    """
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
