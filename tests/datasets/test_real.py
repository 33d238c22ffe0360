"""The real data sets, where they are: counts, disjoint splits, registered hashes."""

import hashlib

import pytest

from coldlens.datasets import load_examples
from coldlens.datasets.fetch import registered_hashes

SIZES = {
    "caa/coordinate-other-ais": (288, 72, 50),
    "caa/corrigible-neutral-HHH": (232, 58, 50),
    "caa/hallucination": (800, 200, 50),
    "caa/refusal": (323, 83, 50),
    "caa/survival-instinct": (722, 181, 50),
    "caa/sycophancy": (800, 200, 50),
    "bipo/hallucination": (560, 140, 200),
    "bipo/wealth-seeking": (495, 123, 200),
}
SPLITS = ("train", "validation", "test")


@pytest.mark.parametrize("name", SIZES)
def test_splits_have_their_size_and_share_no_prompt(name, real):
    splits = [load_examples(name, split, folder=real) for split in SPLITS]
    assert tuple(map(len, splits)) == SIZES[name]
    prompts = [{example.prompt for example in split} for split in splits]
    assert not prompts[0] & prompts[1]
    assert not prompts[0] & prompts[2]
    assert not prompts[1] & prompts[2]
    assert all(split.paired for split in splits)


@pytest.mark.parametrize("name", [name for name in SIZES if name.startswith("caa/")])
def test_both_letters_occur_among_the_positives(name, real):
    for split in SPLITS:
        examples = load_examples(name, split, folder=real)
        assert {"A", "B"} <= {example.positive for example in examples}
        assert all(len(example.positive) == 1 for example in examples)
        assert all(example.prompt.endswith("\n\nAnswer: (") for example in examples)


def test_what_is_dropped_is_said(real):
    refusal = load_examples("caa/refusal", folder=real).source
    assert "408 rows), dropped 0 duplicates and 2 with a question of" in refusal
    wealth = load_examples("bipo/wealth-seeking", folder=real).source
    assert "623 rows, 1 without a question), dropped 4 duplicates and 0 with" in wealth


def test_completions_of_bipo_begin_with_one_space(real):
    for example in load_examples("bipo/hallucination", folder=real):
        assert example.positive[0] == " " != example.positive[1]
        assert example.prompt.endswith("?\n\nAnswer:")


@pytest.mark.parametrize("name", registered_hashes())
def test_registered_hash(name, real):
    assert hashlib.sha256((real / name).read_bytes()).hexdigest() == registered_hashes()[name]
