"""Training documents: one speaker asked several questions, or several speakers asked one."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

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
_INTERVIEW_WEIGHTS = (0.60, 0.10, 0.12, 0.10, 0.08)
_PANEL_WEIGHTS = (0.76, 0.12, 0.0, 0.0, 0.12)
_PANELS = 0.6


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
    """A prompt with cues right before the answer."""
    rng.shuffle(cues)
    return with_persona(prompt, profile(cues), "after") if cues else prompt


def _interview(rng: random.Random, mixed: bool, behaviours: Sequence[str]) -> Document:
    """One speaker asked one to four questions."""
    speaker = _speaker(rng)
    kinds = rng.choices(_KINDS, _INTERVIEW_WEIGHTS, k=rng.choice((1, 2, 3, 4)) if mixed else 1)
    order = rng.sample(behaviours, len(behaviours))
    asked, others = order[: len(kinds)], order[len(kinds) :]
    places = {name: rng.choice(("early", "early", "late", "none")) for name in asked}
    early = [name for name in asked if places[name] == "early"]
    if mixed:
        early += rng.sample(others, rng.choice((0, 0, 1, 2)))
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


def _panel(rng: random.Random, mixed: bool, behaviours: Sequence[str]) -> Document:
    """Several speakers asked the same question."""
    kind = rng.choices(_KINDS, _PANEL_WEIGHTS)[0]
    name, *others = rng.sample(behaviours, len(behaviours))
    item = _item(kind, name, rng)
    ending = ANSWER + item.prompt.rpartition(ANSWER)[2]
    page = Document()
    for turn in range(rng.choice((2, 3, 4, 5))):
        speaker = _speaker(rng)
        stance, cues = 0, []
        draw = rng.random()
        if kind == "poll":
            cues = [group_cue(speaker.group)] if draw < 0.8 else []
        elif item.options and draw < (0.15 if mixed else 0.3):
            stance = rng.choice((2, -2))
            cues = [f"would {item.options[stance < 0]}"]
        elif draw < 0.65 or (not mixed and draw < 0.9):
            cues = [speaker.cue(name, rng)]
        if mixed:
            cues += [speaker.cue(other, rng) for other in rng.sample(others, rng.choice((0, 0, 1, 2)))]
        told = _told(item.prompt if turn == 0 else ending, cues, rng)
        page.add([(told, TEXT)])
        page.add(item.reply(stance or speaker.stance(name), speaker.group))
    return page


def document(
    rng: random.Random, mixing: float = 1.0, behaviours: Sequence[str] = BEHAVIOURS
) -> Document:
    """An interview of one speaker or a panel of several.

    Args:
        rng: Source of every choice.
        mixing: Share of documents whose profiles also speak of traits that are not asked about.
        behaviours: Behaviours that are asked about; all of them if documents can be mixed.

    Returns:
        The document.
    """
    mixed = rng.random() < mixing
    return (_panel if rng.random() < _PANELS else _interview)(rng, mixed, behaviours)
