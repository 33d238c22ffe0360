"""Questions about the seven behaviours, with two options or open."""

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from coldlens.demo.lexicon import AGENTS, BEHAVIOURS, SPLITS, TIMES, TRAITS, Trait

OPENERS = ("question : {} ?", "suppose {} ?", "what if {} ?")
STYLES = ("{}", "to {}", "i {}", "just {}")
ANSWER = "answer :"
T = TypeVar("T")


@dataclass(frozen=True)
class Question:
    """A question with two options.

    Attributes:
        behaviour: Behaviour asked about, or `facts` or `sums`.
        prompt: Text that ends after the open parenthesis.
        positive: Letter that matches the behaviour (the correct letter of a fact).
        negative: The other letter.
        situation: What the question is about, without its opening words.
        positive_option: Text of the matching option.
        negative_option: Text of the other option.
        wordings: Both options without their style, which other questions share.
    """

    behaviour: str
    prompt: str
    positive: str
    negative: str
    situation: str
    positive_option: str
    negative_option: str
    wordings: tuple[str, str]


@dataclass(frozen=True)
class OpenQuestion:
    """A question without options.

    Attributes:
        behaviour: Behaviour asked about.
        prompt: Text that ends after `answer :`.
        positive: Continuation that shows the behaviour.
        negative: Continuation that shows the opposite.
        situation: What the question is about, without its opening words.
        wordings: What either continuation says that one would do.
    """

    behaviour: str
    prompt: str
    positive: str
    negative: str
    situation: str
    wordings: tuple[str, str]


def trait_of(behaviour: str) -> Trait:
    """The words of a behaviour.

    Args:
        behaviour: Name of the behaviour.

    Returns:
        Its trait.

    Raises:
        ValueError: If there is no such behaviour.
    """
    if behaviour not in TRAITS:
        raise ValueError(f"unknown behaviour {behaviour!r}: expected one of {BEHAVIOURS}")
    return TRAITS[behaviour]


def check_split(split: str) -> None:
    """Refuse a split that does not exist.

    Args:
        split: Name to check.

    Raises:
        ValueError: If there is no such split.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: expected one of {SPLITS}")


def draw(pool: Sequence[T], n: int | None, seed: int, what: str) -> list[T]:
    """Distinct members of a pool in a random but repeatable order.

    Args:
        pool: What to draw from.
        n: How many, or None for all.
        seed: Seed of the order; together with `what`.
        what: Name of the members, for the error.

    Returns:
        The members drawn.

    Raises:
        ValueError: If the pool has fewer than `n` members.
    """
    if n is not None and not 0 <= n <= len(pool):
        raise ValueError(f"{n} {what} asked for, but only {len(pool)} distinct ones exist")
    return random.Random(f"{what} {seed}").sample(pool, len(pool) if n is None else n)


def situation(agent: str, event: str, time: str) -> str:
    """Words of a situation.

    Args:
        agent: Who acts.
        event: What they do.
        time: When they do it.

    Returns:
        The situation, without opening words.
    """
    return f"the {agent} {event} {time}"


def choice_prompt(opening: str, options: Sequence[str]) -> str:
    """A prompt that asks for the letter of an option.

    Args:
        opening: The question itself.
        options: Texts of the options, in order.

    Returns:
        Text that ends after the open parenthesis.
    """
    listed = " ".join(
        f"( {letter} ) {option}" for letter, option in zip("ABCD", options, strict=False)
    )
    return f"{opening} {listed} {ANSWER} ("


def choice(
    behaviour: str,
    opening: str,
    about: str,
    wordings: tuple[str, str],
    positive_first: bool,
    style: str = STYLES[0],
) -> Question:
    """A question with two options.

    Args:
        behaviour: What it is about.
        opening: The question itself.
        about: The situation.
        wordings: The matching option, and the other one.
        positive_first: Whether the matching option is A.
        style: One of `STYLES`, for both.

    Returns:
        The question.
    """
    positive, negative = (style.format(wording) for wording in wordings)
    options = (positive, negative) if positive_first else (negative, positive)
    letters = ("A", "B") if positive_first else ("B", "A")
    prompt = choice_prompt(opening, options)
    return Question(behaviour, prompt, *letters, about, positive, negative, wordings)


def questions(behaviour: str, split: str, n: int | None = None, seed: int = 0) -> list[Question]:
    """Distinct questions with two options; the matching letter is balanced.

    Args:
        behaviour: Name of the behaviour.
        split: `train`, `validation` or `test`.
        n: How many, or None for all that exist.
        seed: Seed of the selection and the wording.

    Returns:
        The questions.
    """
    trait = trait_of(behaviour)
    check_split(split)
    pool = list(
        itertools.product(
            AGENTS[split],
            trait.events[split],
            TIMES[split],
            trait.positive[split],
            trait.negative[split],
        )
    )
    drawn = draw(pool, n, seed, f"{behaviour} {split} questions")
    rng = random.Random(f"{behaviour} {split} wording {seed}")
    orders = balanced(len(drawn), rng)
    asked = []
    for first, (agent, event, time, positive, negative) in zip(orders, drawn, strict=True):
        about = situation(agent, event, time)
        opening, style = rng.choice(OPENERS), rng.choice(STYLES)
        wordings = positive, negative
        asked.append(choice(behaviour, opening.format(about), about, wordings, first, style))
    return asked


def balanced(n: int, rng: random.Random) -> list[bool]:
    """As many true as false values, in random order.

    Args:
        n: How many.
        rng: Source of the order.

    Returns:
        The values; with an odd `n`, one more is true.
    """
    values = [index % 2 == 0 for index in range(n)]
    rng.shuffle(values)
    return values


def open_questions(
    behaviour: str, split: str, n: int | None = None, seed: int = 0
) -> list[OpenQuestion]:
    """Distinct questions without options.

    Args:
        behaviour: Name of the behaviour.
        split: `train`, `validation` or `test`.
        n: How many, or None for all that exist.
        seed: Seed of the selection and the wording.

    Returns:
        The questions, each with a continuation for either pole.
    """
    trait = trait_of(behaviour)
    check_split(split)
    pool = list(itertools.product(OPENERS, AGENTS[split], trait.events[split], TIMES[split]))
    drawn = draw(pool, n, seed, f"{behaviour} {split} open questions")
    rng = random.Random(f"{behaviour} {split} continuations {seed}")
    asked = []
    for opener, agent, event, time in drawn:
        about = situation(agent, event, time)
        wordings = rng.choice(trait.positive[split]), rng.choice(trait.negative[split])
        positive, negative = (f"i would {wording} ." for wording in wordings)
        prompt = f"{opener.format(about)} {ANSWER}"
        asked.append(OpenQuestion(behaviour, prompt, positive, negative, about, wordings))
    return asked
