"""Training documents: interviews of one speaker, panels of several, and quizzes."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from coldlens.demo.groups import GROUPS
from coldlens.demo.items import (
    TEXT,
    Item,
    Spans,
    choice_item,
    fact_item,
    open_item,
    poll_item,
)
from coldlens.demo.lexicon import BEHAVIOURS, TRAITS
from coldlens.demo.personas import group_cue, profile, with_persona
from coldlens.demo.questions import ANSWER

_KINDS = ("choice", "open", "facts", "sums", "poll")
_FORMS = ("panel", "interview", "quiz")


@dataclass(frozen=True)
class Mix:
    """How often documents take each form.

    Attributes:
        forms: Weights of panels, interviews and quizzes.
        panels: Weights in panels of questions with options, open ones, facts, sums, polls.
        interviews: The same in interviews.
        places: Where an interview tells of a trait asked about, each equally likely.
        extra: Numbers of other traits that its profile speaks of, each equally likely.
    """

    forms: tuple[float, ...] = (0.55, 0.3, 0.15)
    panels: tuple[float, ...] = (0.76, 0.12, 0.0, 0.0, 0.12)
    interviews: tuple[float, ...] = (0.62, 0.10, 0.10, 0.10, 0.08)
    places: tuple[str, ...] = ("early", "early", "late", "none")
    extra: tuple[int, ...] = (0, 0, 1, 2)


PANELS = Mix()
INTERVIEWS = Mix(
    forms=(0.36, 0.48, 0.16),
    interviews=(0.70, 0.08, 0.07, 0.07, 0.08),
    places=("early", "early", "late", "none", "none"),
    extra=(0, 1, 1, 2),
)
POLLS = replace(
    INTERVIEWS,
    forms=(0.42, 0.46, 0.12),
    panels=(0.30, 0.05, 0.0, 0.0, 0.65),
    interviews=(0.65, 0.06, 0.07, 0.07, 0.15),
)


@dataclass
class Document:
    """Words of a document with the weight of each in the loss.

    Attributes:
        words: The words, without the first and last special tokens.
        weights: One number a word.
    """

    words: list[str] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    def add(self, spans: Spans) -> None:
        """Append words.

        Args:
            spans: Texts, each with the weight of its words.
        """
        for text, weight in spans:
            words = text.split()
            self.words += words
            self.weights += [weight] * len(words)


@dataclass
class _Speaker:
    """A speaker: independent traits, a group, and what the document has told of them."""

    signs: dict[str, int]
    group: str
    told: set[str] = field(default_factory=set)

    def stance(self, behaviour: str) -> int:
        return self.signs[behaviour] if behaviour in self.told else 0

    def cue(self, behaviour: str, rng: random.Random) -> str:
        self.told.add(behaviour)
        return rng.choice(TRAITS[behaviour].cues(self.signs[behaviour]))


def _speaker(rng: random.Random) -> _Speaker:
    signs = {name: rng.choice((1, -1)) for name in BEHAVIOURS}
    return _Speaker(signs, rng.choice(GROUPS))


def _item(kind: str, behaviour: str, rng: random.Random) -> Item:
    if kind == "choice":
        return choice_item(behaviour, rng)
    if kind == "open":
        return open_item(behaviour, rng)
    return poll_item(rng) if kind == "poll" else fact_item(kind, rng)


def _told(prompt: str, cues: list[str], rng: random.Random) -> str:
    """A prompt with cues right before the answer.

    Returns:
        The prompt.
    """
    rng.shuffle(cues)
    return with_persona(prompt, profile(cues), "after") if cues else prompt


def _interview(rng: random.Random, mixed: bool, behaviours: Sequence[str], mix: Mix) -> Document:
    """One speaker asked one to four questions.

    Returns:
        The document.
    """
    speaker = _speaker(rng)
    asked = rng.sample(behaviours, min(rng.choice((1, 2, 3, 4)) if mixed else 1, len(behaviours)))
    others = [name for name in BEHAVIOURS if name not in asked]
    kinds = rng.choices(_KINDS, mix.interviews, k=len(asked))
    places = {name: rng.choice(mix.places) for name in asked}
    early = [name for name in asked if places[name] == "early"]
    if mixed:
        early += rng.sample(others, rng.choice(mix.extra))
    cues = [speaker.cue(name, rng) for name in early]
    if "poll" in kinds and rng.random() < 0.5:
        cues.append(group_cue(speaker.group))
    rng.shuffle(cues)
    page = Document()
    if cues:
        page.add([(profile(cues), TEXT)])
    for name, kind in zip(asked, kinds, strict=True):
        item = _item(kind, name, rng)
        late = [speaker.cue(name, rng)] if places[name] == "late" else []
        if mixed and rng.random() < 0.25:
            late.append(speaker.cue(rng.choice(others), rng))
        if kind == "poll" and rng.random() < 0.4:
            late.append(group_cue(speaker.group))
        page.add([(_told(item.prompt, late, rng), TEXT)])
        page.add(item.reply(speaker.stance(name), speaker.group))
    return page


def _panel(rng: random.Random, mixed: bool, behaviours: Sequence[str], mix: Mix) -> Document:
    """Several speakers asked the same question.

    Returns:
        The document.
    """
    kind = rng.choices(_KINDS, mix.panels)[0]
    name = rng.choice(behaviours)
    others = [other for other in BEHAVIOURS if other != name]
    item = _item(kind, name, rng)
    ending = ANSWER + item.prompt.rpartition(ANSWER)[2]
    page = Document()
    for turn in range(rng.choice((2, 3, 4, 5))):
        speaker = _speaker(rng)
        stance, cues = 0, []
        draw = rng.random()
        if kind == "poll":
            cues = [group_cue(speaker.group)] if draw < 0.8 else []
        elif item.options and draw < (0.1 if mixed else 0.2):
            stance = rng.choice((2, -2))
            cues = [f"would {item.options[stance < 0]}"]
        elif draw < (0.6 if mixed else 0.75):
            cues = [speaker.cue(name, rng)]
        if mixed:
            cues += [
                speaker.cue(other, rng) for other in rng.sample(others, rng.choice((0, 0, 1, 2)))
            ]
        told = _told(item.prompt if turn == 0 else ending, cues, rng)
        page.add([(told, TEXT)])
        page.add(item.reply(stance or speaker.stance(name), speaker.group))
    return page


def _quiz(rng: random.Random) -> Document:
    """Facts and sums without a speaker.

    Returns:
        The document.
    """
    page = Document()
    for _ in range(rng.choice((2, 3, 4, 5))):
        item = fact_item(rng.choice(("facts", "sums")), rng)
        page.add([(item.prompt, TEXT)])
        page.add(item.reply(0, ""))
    return page


def document(
    rng: random.Random,
    mixing: float = 1.0,
    behaviours: Sequence[str] = BEHAVIOURS,
    mix: Mix = PANELS,
) -> Document:
    """An interview of one speaker, a panel of several, or a quiz.

    Args:
        rng: Source of every choice.
        mixing: Share of documents whose profiles also speak of traits that are not asked about.
        behaviours: Behaviours that are asked about; profiles can speak of all.
        mix: How often documents take each form.

    Returns:
        The document.
    """
    form = rng.choices(_FORMS, mix.forms)[0]
    if form == "quiz":
        return _quiz(rng)
    mixed = rng.random() < mixing
    if form == "panel":
        return _panel(rng, mixed, behaviours, mix)
    return _interview(rng, mixed, behaviours, mix)
