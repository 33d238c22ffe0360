"""Groups of speakers with known distributions of answers to a poll."""

import math
from dataclasses import dataclass

from coldlens.demo.questions import check_split, choice_prompt, draw

GROUPS = ("farmer", "nurse", "pilot", "baker", "miner", "poet")
TOPICS = {
    "train": (
        "taxes", "schools", "sports", "music", "travel", "cars", "movies", "gardens", "churches",
    ),
    "validation": ("robots", "museums", "borders"),
    "test": ("wars", "cities", "sugar"),
}  # fmt: skip
OPENERS = ("poll : {} ?", "poll : what of {} ?", "poll : your view of {} ?")
SCALES = (
    ("hate", "dislike", "like", "love"),
    ("never", "rarely", "often", "always"),
    ("bad", "poor", "fair", "good"),
)
LETTERS = ("A", "B", "C", "D")
_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
_CENTRE, _REACH, _WIDTH = 1.5, 1.5, 0.8


@dataclass(frozen=True)
class GroupQuestion:
    """A poll question and how one group answers it.

    Attributes:
        group: The group.
        topic: What the poll asks about.
        prompt: Text that ends after the open parenthesis; it does not name the group.
        options: Letters of the options, in order.
        distribution: Probability of each letter in the group.
    """

    group: str
    topic: str
    prompt: str
    options: tuple[str, ...]
    distribution: tuple[float, ...]


def check_group(group: str) -> None:
    """Refuse a group that does not exist.

    Args:
        group: Name to check.

    Raises:
        ValueError: If there is no such group.
    """
    if group not in GROUPS:
        raise ValueError(f"unknown group {group!r}: expected one of {GROUPS}")


def distribution(group: str, topic: str) -> tuple[float, ...]:
    """How a group answers, from the angle between the group and the topic on a circle.

    Args:
        group: Name of the group.
        topic: What the poll asks about.

    Returns:
        Probability of each option, from the least to the most favourable.
    """
    topics = [name for names in TOPICS.values() for name in names]
    angle = 2 * math.pi * GROUPS.index(group) / len(GROUPS) - _GOLDEN_ANGLE * topics.index(topic)
    mean = _CENTRE + _REACH * math.cos(angle)
    weights = [math.exp(-((k - mean) ** 2) / _WIDTH) for k in range(len(LETTERS))]
    return tuple(weight / sum(weights) for weight in weights)


def poll_prompt(topic: str, opener: str, scale: tuple[str, ...]) -> str:
    """A poll question.

    Args:
        topic: What it asks about.
        opener: One of `OPENERS`.
        scale: One of `SCALES`.

    Returns:
        Text that ends after the open parenthesis.
    """
    return choice_prompt(opener.format(topic), scale)


def group_questions(
    group: str, split: str, n: int | None = None, seed: int = 0
) -> list[GroupQuestion]:
    """Distinct poll questions with the answers of a group.

    Args:
        group: Name of the group.
        split: `train`, `validation` or `test`.
        n: How many, or None for all that exist.
        seed: Seed of the selection.

    Returns:
        The questions.
    """
    check_group(group)
    check_split(split)
    pool = [
        (topic, opener, scale) for topic in TOPICS[split] for opener in OPENERS for scale in SCALES
    ]
    return [
        GroupQuestion(
            group,
            topic,
            poll_prompt(topic, opener, scale),
            LETTERS,
            distribution(group, topic),
        )
        for topic, opener, scale in draw(pool, n, seed, f"{group} {split} poll questions")
    ]
