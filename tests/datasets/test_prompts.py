"""Prompts without answers."""

import json

import pytest

from coldlens.datasets import load_examples, load_prompts
from coldlens.errors import ArgumentError, DataError


@pytest.fixture
def asked(folder):
    questions = [{"question": f"Question {i}?"} for i in range(5)] + [{"question": "Question  4?"}]
    folder.write("caa/test/refusal/test_dataset_open_ended.json", json.dumps(questions))
    return folder.path


def test_open_questions_are_read_once(asked):
    expected = [f"Question: Question {i}?\n\nAnswer:" for i in range(5)]
    assert load_prompts("caa/refusal/open", folder=asked) == expected
    assert load_prompts("caa/refusal/open", prompt_format="chat", folder=asked) == [
        f"Question {i}?" for i in range(5)
    ]


def test_a_draw_is_repeated_by_its_seed(asked):
    drawn = load_prompts("caa/refusal/open", n=3, seed=1, folder=asked)
    assert drawn == load_prompts("caa/refusal/open", n=3, seed=1, folder=asked)
    assert drawn != load_prompts("caa/refusal/open", n=3, seed=2, folder=asked)
    assert set(drawn) < set(load_prompts("caa/refusal/open", folder=asked))


@pytest.mark.parametrize("n", [0, 6])
def test_n_out_of_range(asked, n):
    with pytest.raises(ArgumentError, match=f"n between 1 and 5, .*/open; found n={n}. Choose"):
        load_prompts("caa/refusal/open", n=n, folder=asked)


def test_prompts_of_examples(small):
    examples = load_examples("demo/refusal/open", "test", n=3, seed=1)
    assert load_prompts("demo/refusal/open", n=3, seed=1) == [e.prompt for e in examples]
    assert load_prompts("bipo/hallucination", folder=small.path) == [
        f"Question: Test {i}?\n\nAnswer:" for i in range(2)
    ]
    assert len(load_prompts("bipo/hallucination", "train", folder=small.path)) == 8


def test_open_questions_are_for_the_test(asked):
    with pytest.raises(
        ArgumentError,
        match=r"split='test' of caa/refusal/open, .* found split='train'. Fit on caa/refusal",
    ):
        load_prompts("caa/refusal/open", "train", folder=asked)
    with pytest.raises(ArgumentError, match=r"found 'tset'\. Perhaps you mean 'test'"):
        load_prompts("caa/refusal/open", "tset", folder=asked)


def test_unknown_or_absent_prompts(asked):
    with pytest.raises(DataError, match=r"found 'caa/refuse/open'\. Perhaps you mean"):
        load_prompts("caa/refuse/open", folder=asked)
    with pytest.raises(DataError, match=r"sycophancy/test_dataset_open_ended.json; found no such"):
        load_prompts("caa/sycophancy/open", folder=asked)
