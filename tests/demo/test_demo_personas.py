"""Profiles and their place in a prompt."""

import pytest

from coldlens.demo.world import (
    BEHAVIOURS,
    GROUPS,
    SPLITS,
    group_persona,
    group_questions,
    open_questions,
    persona,
    questions,
    with_persona,
)


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_personas_of_opposite_signs_share_no_cue(behaviour):
    shown, opposite = persona(behaviour, 1, n=4), persona(behaviour, -1, n=4)
    assert len(set(shown)) == len(set(opposite)) == 4
    assert not set(shown) & set(opposite)
    assert persona(behaviour, 1, n=4) == shown
    assert persona(behaviour) in shown


def test_a_profile_stands_before_the_question_or_right_before_the_answer():
    asked = questions("refusal", "test", 1)[0]
    text = persona("refusal")
    before = with_persona(asked, text, "before")
    after = with_persona(asked, text, "after")
    assert before.prompt == f"{text} {asked.prompt}"
    assert after.prompt == asked.prompt.replace("answer :", f"{text} answer :")
    assert (before.positive, after.positive) == (asked.positive, asked.positive)
    assert with_persona(asked.prompt, text) == before.prompt


def test_open_and_poll_questions_take_profiles():
    opening = open_questions("refusal", "test", 1)[0]
    assert with_persona(opening, "x .", "after").prompt.endswith("x . answer :")
    poll = group_questions(GROUPS[0], "test", 1)[0]
    assert with_persona(poll, group_persona(GROUPS[0])).prompt.startswith("speaker : works as")


def test_profiles_use_no_word_of_a_question():
    scaffold = {"speaker", ":", "tends", "to", "is", "."}
    profiles = {
        word
        for name in BEHAVIOURS
        for sign in (1, -1)
        for text in persona(name, sign, n=4)
        for word in text.split()
    } - scaffold
    asked = {
        word
        for name in BEHAVIOURS
        for split in SPLITS
        for q in questions(name, split)
        for word in q.prompt.split()
    }
    assert not profiles & asked


def test_wrong_arguments_are_explained():
    with pytest.raises(ValueError, match=r"sign is 0: expected \+1"):
        persona("refusal", 0)
    with pytest.raises(ValueError, match="expected 'before' or 'after'"):
        with_persona("question : ? answer : (", "x .", "inside")
    with pytest.raises(ValueError, match="unknown group"):
        group_persona("king")
