"""The demo world as a data set."""

import re

import pytest

from coldlens.datasets import load_examples
from coldlens.datasets.demo import demo_names
from coldlens.errors import DataError
from coldlens.examples.example import TokenPolicy

SPLITS = ("train", "validation", "test")


@pytest.mark.parametrize("behaviour", demo_names())
def test_splits_are_disjoint_and_letters_balanced(behaviour):
    splits = [load_examples(f"demo/{behaviour}", split) for split in SPLITS]
    prompts = [{example.prompt for example in split} for split in splits]
    assert all(len(split) == len(asked) for split, asked in zip(splits, prompts, strict=True))
    assert len(set.union(*prompts)) == sum(map(len, prompts))
    assert all(split.paired and split.policy == TokenPolicy() for split in splits)
    if behaviour.startswith("groups/"):
        assert all(example.options == tuple("ABCD") for split in splits for example in split)
    elif not behaviour.endswith("/open"):
        assert all({example.positive for example in split} == {"A", "B"} for split in splits)


def test_multiple_choice_ends_after_the_parenthesis():
    examples = load_examples("demo/refusal")
    assert all(example.prompt.endswith("answer : (") for example in examples)
    assert examples.source == "demo/refusal, train"


def test_open_completions_begin_with_a_space():
    example = load_examples("demo/refusal/open", "test")[0]
    assert example.prompt.endswith("answer :")
    assert example.positive.startswith(" ")
    assert example.negative.startswith(" ")


def test_polls_have_the_distribution_of_the_group():
    from coldlens.demo.world import group_questions

    examples = load_examples("demo/groups/miner", "validation")
    asked = {each.prompt: each.distribution for each in group_questions("miner", "validation")}
    assert {example.prompt: example.distribution for example in examples} == asked
    assert all(example.prompt.endswith("answer : (") for example in examples)
    for example in examples:
        shares = dict(zip(example.options, example.distribution, strict=True))
        assert shares[example.positive] == max(shares.values())
        assert shares[example.negative] == min(shares.values())


@pytest.mark.parametrize("behaviour", demo_names())
@pytest.mark.parametrize("split", SPLITS)
def test_clusters_are_what_the_text_says(behaviour, split):
    for example in load_examples(f"demo/{behaviour}", split):
        listed = dict(re.findall(r"\( ([A-D]) \) (.*?) (?=\( [A-D] \)|answer :)", example.prompt))
        if behaviour.startswith("groups/"):
            (topic,) = example.clusters
            assert f" {topic} ?" in example.prompt
            continue
        if behaviour.endswith("/open"):
            said = [
                re.fullmatch(" i would (.+) .", text)[1]
                for text in (example.positive, example.negative)
            ]
        else:
            texts = listed[example.positive], listed[example.negative]
            said = [re.sub("^(to|i|just) ", "", text) for text in texts]
        assert example.clusters == tuple(said)


def test_unknown_group():
    with pytest.raises(DataError, match=r"'demo/groups/miners'. Perhaps you mean 'demo/groups/mi"):
        load_examples("demo/groups/miners")


def test_sample_is_of_the_whole_split():
    whole = load_examples("demo/sycophancy")
    drawn = load_examples("demo/sycophancy", n=20, seed=3)
    assert drawn == load_examples("demo/sycophancy", n=20, seed=3)
    assert set(drawn) <= set(whole)


def test_unknown_behaviour():
    with pytest.raises(
        DataError, match=r"of demo: .*; found 'demo/refuse'. Perhaps you mean 'demo/ref"
    ):
        load_examples("demo/refuse")
