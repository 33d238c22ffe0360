"""Questions of training documents, with the replies of speakers."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from coldlens.demo.facts import FACTS, SUMS
from coldlens.demo.groups import LETTERS, SCALES, TOPICS, distribution, poll_prompt
from coldlens.demo.groups import OPENERS as POLL_OPENERS
from coldlens.demo.lexicon import AGENTS, SPLITS, TIMES, TRAITS
from coldlens.demo.questions import ANSWER, OPENERS, STYLES, choice, situation
from coldlens.demo.speakers import probability

TEXT, REPLY, LETTER = 0.1, 1.0, 3.0
HELD_OUT = frozenset(SPLITS[1:])
_FACTS = [item for split, item in FACTS if split not in HELD_OUT]
_SUMS = [item for split, item in SUMS if split not in HELD_OUT]
_TOPICS = [topic for topics in TOPICS.values() for topic in topics]
_WITH_OPTION = 0.4
_UNLISTED = 0.35
Spans = list[tuple[str, float]]


@dataclass(frozen=True)
class Item:
    """A question and how it is answered.

    Attributes:
        prompt: Text up to the answer.
        reply: From the stance and the group of a speaker to words with their weights in the loss.
        options: Options of the positive and the negative pole, if any are listed.
    """

    prompt: str
    reply: Callable[[int, str], Spans]
    options: tuple[str, str] | None = None


def _letter(letter: str, option: str, rng: random.Random) -> Spans:
    ending = f") {option} ." if rng.random() < _WITH_OPTION else ") ."
    return [(letter, LETTER), (ending, REPLY)]


def _homes(rng: random.Random) -> list[str]:
    """Splits of three parts of a question, not all the same held-out one.

    Returns:
        Three names.
    """
    homes: list[str] = [*rng.choices(SPLITS, k=3)]
    while homes[0] in HELD_OUT and homes[0] == homes[1] == homes[2]:
        homes = [*rng.choices(SPLITS, k=3)]
    return homes


def choice_item(behaviour: str, rng: random.Random) -> Item:
    """A question with two options that no held-out question holds together.

    Args:
        behaviour: What it is about.
        rng: Source of the words.

    Returns:
        The item.
    """
    trait = TRAITS[behaviour]
    homes = _homes(rng)
    event = rng.choice(trait.events[homes[0]])
    positive = rng.choice(trait.positive[homes[1]])
    negative = rng.choice(trait.negative[homes[2]])
    about = situation(
        rng.choice(AGENTS[rng.choice(SPLITS)]), event, rng.choice(TIMES[rng.choice(SPLITS)])
    )
    opening, style = rng.choice(OPENERS).format(about), rng.choice(STYLES)
    wordings = positive, negative
    asked = choice(behaviour, opening, about, wordings, rng.random() < 0.5, style)

    def reply(stance: int, _group: str) -> Spans:
        if rng.random() < probability(behaviour, event, positive, negative, stance):
            return _letter(asked.positive, asked.positive_option, rng)
        return _letter(asked.negative, asked.negative_option, rng)

    return Item(asked.prompt, reply, wordings)


def open_item(behaviour: str, rng: random.Random) -> Item:
    """A question without options whose situation no held-out question holds.

    Args:
        behaviour: What it is about.
        rng: Source of the words.

    Returns:
        The item.
    """
    trait = TRAITS[behaviour]
    homes = _homes(rng)
    event = rng.choice(trait.events[homes[0]])
    about = situation(rng.choice(AGENTS[homes[1]]), event, rng.choice(TIMES[homes[2]]))

    def reply(stance: int, _group: str) -> Spans:
        shows = rng.random() < probability(behaviour, event, None, None, stance)
        words = [word for part in trait.poles(1 if shows else -1).values() for word in part]
        chosen = rng.sample(words, rng.choice((1, 2)))
        return [(f"i would {' and '.join(chosen)} .", REPLY)]

    return Item(f"{rng.choice(OPENERS).format(about)} {ANSWER}", reply)


def fact_item(kind: str, rng: random.Random) -> Item:
    """A fact or a sum, mostly with two options.

    Args:
        kind: `facts` or `sums`.
        rng: Source of the words.

    Returns:
        The item.
    """
    _, about, right, wrong = rng.choice(_FACTS if kind == "facts" else _SUMS)
    opening = rng.choice(OPENERS).format(about)
    if rng.random() < _UNLISTED:
        return Item(f"{opening} {ANSWER}", lambda _stance, _group: [(f"{right} .", REPLY)])
    asked = choice(kind, opening, about, (right, wrong), rng.random() < 0.5)
    return Item(asked.prompt, lambda _stance, _group: _letter(asked.positive, right, rng))


def poll_item(rng: random.Random) -> Item:
    """A poll question with four ordered options.

    Args:
        rng: Source of the words.

    Returns:
        The item.
    """
    topic, scale = rng.choice(_TOPICS), rng.choice(SCALES)

    def reply(_stance: int, group: str) -> Spans:
        index = rng.choices(range(len(LETTERS)), distribution(group, topic))[0]
        return _letter(LETTERS[index], scale[index], rng)

    return Item(poll_prompt(topic, rng.choice(POLL_OPENERS), scale), reply)
