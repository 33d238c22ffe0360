"""The splits share scaffold and function words, and no others."""

import itertools
import random

import pytest

from coldlens.demo.documents import document
from coldlens.demo.world import (
    BEHAVIOURS,
    FUNCTION,
    SCAFFOLD,
    SPLITS,
    facts,
    group_questions,
    open_questions,
    questions,
)
from coldlens.demo.facts import NUMBERS, RELATIONS
from coldlens.demo.groups import SCALES

SHARED_ANSWERS = frozenset(
    [word for values in RELATIONS.values() for word in values]
    + list(RELATIONS)
    + list(NUMBERS)
    + [word for scale in SCALES for word in scale]
)


def content(texts):
    return {word for text in texts for word in text.split()} - SCAFFOLD - FUNCTION


def pairs_of_splits():
    return itertools.combinations(SPLITS, 2)


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_content_words_of_a_behaviour_are_disjoint(behaviour):
    words = {
        split: content(
            [q.prompt for q in questions(behaviour, split)]
            + [
                text
                for q in open_questions(behaviour, split)
                for text in (q.prompt, q.positive, q.negative)
            ]
        )
        for split in SPLITS
    }
    assert all(len(found) >= 10 for found in words.values())
    for one, other in pairs_of_splits():
        assert not words[one] & words[other]


def test_content_words_are_disjoint_across_behaviours_too():
    words = {
        split: content(q.prompt for name in BEHAVIOURS for q in questions(name, split))
        for split in SPLITS
    }
    for one, other in pairs_of_splits():
        assert not words[one] & words[other]


def test_entities_and_topics_are_disjoint():
    for make in (facts, lambda split: group_questions("poet", split)):
        words = {split: content(q.prompt for q in make(split)) - SHARED_ANSWERS for split in SPLITS}
        for one, other in pairs_of_splits():
            assert not words[one] & words[other]


def test_scaffold_holds_no_option_or_situation_word():
    for name in BEHAVIOURS:
        for q in questions(name, "test", 50):
            assert content([q.positive_option])
            assert content([q.negative_option])
            assert content([q.situation])


def held_out_questions():
    """Words of every held-out question: of its situation and of its two options."""
    return {
        (split, name): (
            {q.situation for q in questions(name, split)},
            content(q.positive_option for q in questions(name, split)),
            content(q.negative_option for q in questions(name, split)),
        )
        for split in SPLITS[1:]
        for name in BEHAVIOURS
    }


def asked_in(words):
    """Situation and two options of every A/B question in a document."""
    text = " ".join(words)
    for part in text.split("answer :")[:-1]:
        if "( B )" not in part or "( C )" in part:
            continue
        head, _, options = part.rpartition(" ( A ) ")
        first, _, second = options.partition(" ( B ) ")
        yield head, content([first]), content([second.partition("speaker")[0]])


def test_documents_never_ask_a_held_out_question():
    reserved = held_out_questions()
    rng = random.Random(11)
    seen = 0
    for _ in range(20_000):
        for head, first, second in asked_in(document(rng).words):
            seen += 1
            for situations, positive, negative in reserved.values():
                crossed = (first <= positive and second <= negative) or (
                    first <= negative and second <= positive
                )
                if crossed:
                    assert not any(situation in head for situation in situations), (head, first)
    assert seen > 20_000


def test_documents_never_ask_a_held_out_open_question_or_fact():
    openings = {
        q.prompt for name in BEHAVIOURS for split in SPLITS[1:] for q in open_questions(name, split)
    }
    known = {
        (q.situation, frozenset((q.positive_option, q.negative_option)))
        for split in SPLITS[1:]
        for q in facts(split)
    }
    rng = random.Random(12)
    for _ in range(20_000):
        text = " ".join(document(rng).words)
        for part in text.split("answer :")[:-1]:
            sentence = part.rpartition(" . ")[2].strip()
            assert f"{sentence} answer :" not in openings
        for head, first, second in asked_in(text.split()):
            about = head.rpartition(" . ")[2]
            for opening in ("question : ", "suppose ", "what if "):
                about = about.removeprefix(opening)
            options = frozenset((" ".join(first), " ".join(second)))
            assert (about.removesuffix(" ?"), options) not in known
