"""Facts and small sums: questions that no trait should change."""

import itertools
import random

from coldlens.demo.questions import (
    OPENERS,
    Question,
    balanced,
    check_split,
    choice,
    draw,
)

RELATIONS = {
    "colour": {
        "yellow": ("lemon", "banana", "canary"),
        "white": ("snow", "milk", "salt"),
        "black": ("coal", "raven", "tar"),
        "red": ("blood", "tomato", "ruby"),
    },
    "home": {
        "sea": ("whale", "shark", "dolphin"),
        "desert": ("camel", "scorpion", "lizard"),
        "forest": ("wolf", "deer", "squirrel"),
        "farm": ("cow", "pig", "goat"),
    },
    "material": {
        "metal": ("hammer", "anchor", "sword"),
        "wood": ("shelf", "barrel", "plank"),
        "glass": ("bottle", "mirror", "lens"),
        "wool": ("scarf", "sweater", "blanket"),
    },
}
NUMBERS = (
    "one", "two", "three", "four", "five", "six",
    "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip
LARGEST = 6
Item = tuple[str, str, str, str]


def _facts() -> list[tuple[str, Item]]:
    """Every fact with every wrong value.

    Returns:
        Pairs of a split (`practice`: documents only) and an item.
    """
    found = []
    for relation, values in RELATIONS.items():
        names = list(values)
        for index, value in enumerate(names):
            for split, entity in zip(("train", "validation", "test"), values[value], strict=True):
                for step in range(1, len(names)):
                    wrong = names[(index + step) % len(names)]
                    home = split if step == 1 or split == "train" else "practice"
                    found.append((home, ("facts", f"the {relation} of {entity}", value, wrong)))
    return found


def _sums() -> list[tuple[str, Item]]:
    """Every sum with every wrong result.

    Returns:
        Pairs of a split and an item.
    """
    homes = ("test", "validation", "train", "train", "train")
    found = []
    for left, right in itertools.product(range(1, LARGEST + 1), repeat=2):
        for wrong in range(2, 2 * LARGEST + 1):
            if wrong != left + right:
                item = (
                    "sums",
                    f"{NUMBERS[left - 1]} plus {NUMBERS[right - 1]}",
                    NUMBERS[left + right - 1],
                    NUMBERS[wrong - 1],
                )
                found.append((homes[(left + 2 * right + wrong) % len(homes)], item))
    return found


FACTS = _facts()
SUMS = _sums()


def facts(split: str, n: int | None = None, seed: int = 0) -> list[Question]:
    """Distinct facts and sums with two options; the correct letter is balanced.

    Args:
        split: `train`, `validation` or `test`.
        n: How many, or None for all that exist.
        seed: Seed of the selection.

    Returns:
        The questions; `positive` is the correct letter.
    """
    check_split(split)
    pool = [
        (opener, item)
        for opener, (home, item) in itertools.product(OPENERS, FACTS + SUMS)
        if home == split
    ]
    drawn = draw(pool, n, seed, f"{split} facts and sums")
    orders = balanced(len(drawn), random.Random(f"{split} orders {seed}"))
    return [
        choice(kind, opener.format(about), about, (right, wrong), first)
        for first, (opener, (kind, about, right, wrong)) in zip(orders, drawn, strict=True)
    ]
