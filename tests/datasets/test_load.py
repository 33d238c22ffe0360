"""`load_examples` whatever the source: samples, examples as they are, refusals."""

from pathlib import Path

import pytest

from coldlens.datasets import load_examples
from coldlens.errors import ArgumentError, DataError
from coldlens.examples.example import Example, ExampleSet, TokenPolicy

EXAMPLES = [Example(f"question {i} :", "yes", "no") for i in range(6)]


def test_a_list_becomes_a_set():
    assert load_examples(EXAMPLES) == ExampleSet.of(EXAMPLES)


def test_a_set_stays_what_it_is():
    given = ExampleSet.of(EXAMPLES)
    assert load_examples(given) is given


def test_a_generator_is_taken_too():
    assert len(load_examples(example for example in EXAMPLES)) == 6


def test_policy_replaces_that_of_a_set():
    policy = TokenPolicy(bos="never")
    assert load_examples(EXAMPLES, policy=policy).policy == policy


def test_same_seed_same_sample_other_seed_another():
    drawn = load_examples(EXAMPLES, n=4, seed=1)
    assert drawn == load_examples(EXAMPLES, n=4, seed=1)
    assert drawn != load_examples(EXAMPLES, n=4, seed=2)
    assert len(set(drawn)) == 4
    assert drawn.source == "list; 4 of 6 drawn with seed 1"


@pytest.mark.parametrize("n", [0, -1, 7])
def test_n_out_of_range(n):
    with pytest.raises(ArgumentError, match=f"n between 1 and 6, .*; found n={n}. Choose n in"):
        load_examples(EXAMPLES, n=n)


def test_unknown_split():
    with pytest.raises(
        ArgumentError, match=r"'validation', 'test'; found 'valid'. Perhaps you mean"
    ):
        load_examples("demo/refusal", "valid")


def test_examples_have_no_splits():
    with pytest.raises(ArgumentError, match="they have no splits; found split='test'"):
        load_examples(EXAMPLES, "test")


def test_unknown_data_set_suggests_the_nearest():
    with pytest.raises(
        DataError, match=r"found 'cca/sycophancy'. Perhaps you mean 'caa/sycophancy'"
    ):
        load_examples("cca/sycophancy")


@pytest.mark.parametrize("source", ["opinions.xlsx", Path("opinions.xlsx")])
def test_unknown_ending_lists_the_known_ones(source):
    with pytest.raises(DataError, match=r"ends in \.json, \.jsonl, \.csv; found 'opinions\.xlsx'"):
        load_examples(source)


def test_unknown_prompt_format():
    with pytest.raises(ArgumentError, match=r"'plain'; found 'chatml'\. Perhaps you mean 'chat'"):
        load_examples("caa/refusal", prompt_format="chatml")


@pytest.mark.parametrize("source", ["demo/refusal", "demo/groups/poet", "mine.csv", EXAMPLES])
def test_prompt_format_of_whole_prompts_is_refused(source):
    with pytest.raises(ArgumentError, match=r"prompt_format='plain' with .* prompts are whole"):
        load_examples(source, prompt_format="plain")
