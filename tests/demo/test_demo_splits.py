"""The splits share scaffold and function words, and no others."""

import itertools
import random

import pytest

from coldlens.demo.documents import document
from coldlens.demo.facts import NUMBERS, RELATIONS
from coldlens.demo.groups import SCALES
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

DOCUMENTS = 3_000
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


def key(prompt):
    """What a prompt asks: its opening sentence and the options that it lists."""
    text = prompt.removesuffix(" (").removesuffix(" answer :")
    head, _, options = text.rpartition(" ( A ) ")
    if not head or " ( B ) " not in options:
        head, options = text, ""
    about = head.rpartition(" . ")[2].partition(" ?")[0]
    for opener in ("question : ", "suppose ", "what if "):
        about = about.removeprefix(opener)
    first, _, second = options.partition(" speaker : ")[0].partition(" ( B ) ")
    return about, frozenset((*content([first]), *content([second])))


@pytest.fixture(scope="module")
def asked_in_training():
    """What a large sample of training documents asks, early and late in the run."""
    rng = random.Random(11)
    found = set()
    for step in range(DOCUMENTS):
        *parts, _ = " ".join(document(rng, step / DOCUMENTS).words).split(" answer :")
        found.update(key(part) for part in parts)
    return found


def test_documents_ask_questions_of_the_training_split(asked_in_training):
    openings = {key(q.prompt) for name in BEHAVIOURS for q in open_questions(name, "train")}
    assert len(openings & asked_in_training) > 10
    assert len({key(q.prompt) for q in facts("train")} & asked_in_training) > 50
    lists = {options for _, options in asked_in_training}
    seen = [key(q.prompt)[1] in lists for name in BEHAVIOURS for q in questions(name, "test", 100)]
    assert sum(seen) > len(seen) / 4


@pytest.mark.parametrize("split", SPLITS[1:])
def test_documents_never_ask_a_held_out_question(asked_in_training, split):
    for name in BEHAVIOURS:
        asked = {key(q.prompt) for q in questions(name, split)}
        assert len(asked) == len(questions(name, split))
        assert not asked & asked_in_training
        assert not {key(q.prompt) for q in open_questions(name, split)} & asked_in_training
    assert not {key(q.prompt) for q in facts(split)} & asked_in_training
