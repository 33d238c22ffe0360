"""The generator of questions: repeatable, distinct, balanced, and finite."""

import pytest

from coldlens.demo.world import (
    BEHAVIOURS,
    GROUPS,
    SPLITS,
    facts,
    group_questions,
    open_questions,
    questions,
)

ENOUGH = {"train": 200, "validation": 100, "test": 200}


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize("split", SPLITS)
def test_questions_are_distinct_balanced_and_repeatable(behaviour, split):
    n = ENOUGH[split]
    asked = questions(behaviour, split, n, seed=3)
    assert asked == questions(behaviour, split, n, seed=3)
    assert asked != questions(behaviour, split, n, seed=4)
    assert len({(q.situation, q.positive_option, q.negative_option) for q in asked}) == n
    assert sum(q.positive == "A" for q in asked) == n // 2
    for q in asked:
        assert q.prompt.endswith("answer : (")
        assert q.prompt == " ".join(q.prompt.split())
        assert {q.positive, q.negative} == {"A", "B"}
        letter = q.prompt.split().index(q.positive)
        shown = q.prompt.split()[letter + 2 : letter + 2 + len(q.positive_option.split())]
        assert " ".join(shown) == q.positive_option


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize("split", SPLITS)
def test_open_questions_are_distinct_and_end_before_the_answer(behaviour, split):
    asked = open_questions(behaviour, split)
    assert len({q.prompt for q in asked}) == len(asked) >= 36
    assert all(q.prompt.endswith("answer :") for q in asked)
    assert asked == open_questions(behaviour, split)


@pytest.mark.parametrize("split", SPLITS)
def test_facts_are_distinct_and_balanced(split):
    asked = facts(split, 200, seed=1)
    assert asked == facts(split, 200, seed=1)
    assert (
        len({(q.prompt.split("(")[0], q.positive_option, q.negative_option) for q in asked}) == 200
    )
    assert sum(q.positive == "A" for q in asked) == 100


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("group", GROUPS)
def test_group_questions_carry_a_distribution(group, split):
    asked = group_questions(group, split, 20, seed=2)
    assert asked == group_questions(group, split, 20, seed=2)
    assert len({q.prompt for q in asked}) == 20
    for q in asked:
        assert sum(q.distribution) == pytest.approx(1)
        assert len(q.options) == len(q.distribution) == 4
        assert group not in q.prompt.split()


def test_groups_differ():
    answers = {
        group: tuple(q.distribution for q in group_questions(group, "test")) for group in GROUPS
    }
    assert len(set(answers.values())) == len(GROUPS)


def test_asking_for_too_many_says_how_many_exist():
    with pytest.raises(ValueError, match=r"577 refusal test questions .* only 576 distinct"):
        questions("refusal", "test", 577)
    with pytest.raises(ValueError, match="only 27 distinct"):
        group_questions("poet", "test", 28)
    with pytest.raises(ValueError, match="only 108 distinct"):
        open_questions("refusal", "test", 1000)
    with pytest.raises(ValueError, match="facts and sums asked for"):
        facts("test", 10_000)


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown behaviour 'kindness'.*sycophancy"):
        questions("kindness", "test")
    with pytest.raises(ValueError, match=r"unknown split 'dev'.*validation"):
        open_questions("refusal", "dev")
    with pytest.raises(ValueError, match=r"unknown group 'king'.*poet"):
        group_questions("king", "test")
