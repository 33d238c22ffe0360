"""Profiles of speakers, and where they stand in a prompt."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar, overload

from coldlens.demo.groups import GroupQuestion, check_group
from coldlens.demo.questions import ANSWER, OpenQuestion, Question, trait_of

Q = TypeVar("Q", Question, OpenQuestion, GroupQuestion, str)


def profile(cues: Sequence[str]) -> str:
    """Text of a profile.

    Args:
        cues: What it says of the speaker.

    Returns:
        One sentence.
    """
    return f"speaker : {' and '.join(cues)} ."


def group_cue(group: str) -> str:
    """What a profile says of a member of a group.

    Args:
        group: Name of the group.

    Returns:
        A cue.
    """
    return f"works as {group}"


def group_persona(group: str) -> str:
    """Profile of a member of a group.

    Args:
        group: Name of the group.

    Returns:
        One sentence.
    """
    check_group(group)
    return profile([group_cue(group)])


@overload
def persona(behaviour: str, sign: int = 1, n: None = None, seed: int = 0) -> str: ...


@overload
def persona(behaviour: str, sign: int = 1, *, n: int, seed: int = 0) -> list[str]: ...


def persona(behaviour: str, sign: int = 1, n: int | None = None, seed: int = 0) -> str | list[str]:
    """Profiles that speak of one behaviour.

    Args:
        behaviour: Name of the behaviour.
        sign: +1 for the behaviour, -1 for its opposite.
        n: How many; None for a single one. The wordings repeat after four.
        seed: Seed of the order of the wordings.

    Returns:
        One profile if `n` is None, else a list.

    Raises:
        ValueError: If `sign` is neither +1 nor -1.
    """
    if sign not in (1, -1):
        raise ValueError(f"sign is {sign!r}: expected +1 (the behaviour) or -1 (its opposite)")
    cues = trait_of(behaviour).cues(sign)
    order = random.Random(seed).sample(cues, len(cues))
    if n is None:
        return profile(order[:1])
    return [profile([order[index % len(order)]]) for index in range(n)]


def with_persona(question: Q, profile: str, where: str = "before") -> Q:
    """The same question with a profile.

    Args:
        question: A question, or its prompt.
        profile: Text of the profile.
        where: `before` the question, or `after` the question and its options.

    Returns:
        A new question of the same kind.

    Raises:
        ValueError: If `where` is neither.
    """
    if where not in ("before", "after"):
        raise ValueError(f"where is {where!r}: expected 'before' or 'after'")
    if not isinstance(question, str):
        return replace(question, prompt=with_persona(question.prompt, profile, where))
    if where == "before":
        return f"{profile} {question}"
    head, _, tail = question.rpartition(ANSWER)
    return f"{head}{profile} {ANSWER}{tail}"
