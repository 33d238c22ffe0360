"""Which pole of a behaviour a free text expresses."""

from coldlens.demo.questions import trait_of


def score_open(behaviour: str, text: str) -> int:
    """Compare how many words of either pole a text holds.

    Only the words up to the first full stop count: what follows is no part of the answer.

    Args:
        behaviour: Name of the behaviour.
        text: A continuation.

    Returns:
        +1 if the behaviour prevails, -1 if its opposite does, 0 if neither.
    """
    trait = trait_of(behaviour)
    poles = {
        word: sign for sign in (1, -1) for words in trait.poles(sign).values() for word in words
    }
    words = text.replace(".", " . ").split()
    answer = words[: words.index(".")] if "." in words else words
    total = sum(poles.get(word, 0) for word in answer)
    return (total > 0) - (total < 0)
