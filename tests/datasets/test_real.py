"""The real data sets, where they are: counts, disjoint splits, registered hashes."""

import hashlib

import pytest

from coldlens.datasets import load_examples, load_prompts
from coldlens.datasets.fetch import registered_hashes

SIZES = {
    "caa/coordinate-other-ais": (288, 72, 50),
    "caa/corrigible-neutral-HHH": (232, 58, 50),
    "caa/hallucination": (800, 200, 50),
    "caa/refusal": (323, 83, 50),
    "caa/survival-instinct": (722, 181, 50),
    "caa/sycophancy": (800, 200, 50),
    "opinions_qa/POLPARTY/Democrat": (289, 96, 96),
    "opinions_qa/POLPARTY/Republican": (290, 96, 96),
    "opinions_qa/RACE/Mixed Race": (258, 85, 92),
    "opinions_qa/SEX/Female": (290, 96, 96),
    "axbench/0": (41, 17, 14),
    "axbench/references-to-video-and-multimedia-content": (43, 11, 18),
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
    assert all(split.paired or name.startswith("axbench/") for split in splits)


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
    assert "623 rows, 1 with a blank question or option), dropped 4 duplicates and 0 with" in wealth


def test_completions_of_bipo_begin_with_one_space(real):
    for example in load_examples("bipo/hallucination", folder=real):
        assert example.positive[0] == " " != example.positive[1]
        assert example.prompt.endswith("?\n\nAnswer:")


@pytest.mark.parametrize(
    "names",
    [
        [name for name in SIZES if name.startswith("opinions_qa/")],
        [f"axbench/{number}" for number in range(10)],
    ],
)
def test_no_prompt_is_in_two_splits_of_any_group_or_concept(names, real):
    splits = {}
    for name in names:
        for split in SPLITS:
            for example in load_examples(name, split, folder=real):
                splits.setdefault(" ".join(example.prompt.split()), set()).add(split)
    assert {len(found) for found in splits.values()} == {1}


def test_what_opinions_are_left_out(real):
    origin = load_examples("opinions_qa/POLPARTY/Democrat", folder=real).source
    assert origin.endswith(
        "of 494 questions left out 1 that differ between waves and 1 that nobody of the group "
        "answered and 11 whose answers are not its options"
    )


def test_opinions_by_hand(real):
    whole = [
        example
        for split in SPLITS
        for example in load_examples("opinions_qa/POLPARTY/Republican", split, folder=real)
    ]
    (found,) = (e for e in whole if "reducing illegal immigration into the US" in e.prompt)
    assert found.prompt.endswith("\n\nChoices:\n(A) Top priority\n(B) Some priority\n"
                                 "(C) No priority\n\nAnswer: (")  # fmt: skip
    assert found.distribution == (285 / 384, 91 / 384, 8 / 384)  # 2 refused
    assert (found.positive, found.negative) == ("A", "C")
    assert not any("Refused" in example.prompt for example in whole)
    assert any("\n(A) Yes, I currently own\n" in example.prompt for example in whole)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("caa/mmlu", 570),
        ("caa/truthfulqa", 812),  # of 817, 5 have a blank option
        ("bipo/hallucination/choice", 200),
        ("bipo/wealth-seeking/choice", 200),
    ],
)
def test_sets_to_test_on(name, size, real):
    examples = load_examples(name, "test", folder=real)
    assert len({example.prompt for example in examples}) == len(examples) == size
    for example in examples:
        assert {example.positive, example.negative} == {"A", "B"}
        assert example.prompt.endswith("\n\nAnswer: (")
        assert example.prompt.count("\n(A) ") == example.prompt.count("\n(B) ") == 1


@pytest.mark.parametrize("behaviour", ["hallucination", "wealth-seeking"])
def test_choices_of_bipo_are_its_test_questions(behaviour, real):
    free = load_examples(f"bipo/{behaviour}", "test", folder=real)
    lettered = load_examples(f"bipo/{behaviour}/choice", "test", folder=real)
    for text, choice in zip(free, lettered, strict=True):
        question = text.prompt.removesuffix("\n\nAnswer:")
        options = choice.prompt.removeprefix(question)
        assert options != choice.prompt
        assert f"\n({choice.positive}){text.positive}\n" in options
        assert f"\n({choice.negative}){text.negative}\n" in options


@pytest.mark.parametrize("name", [name for name in SIZES if name.startswith("caa/")])
def test_open_prompts_are_not_fitted_on(name, real):
    prompts = load_prompts(f"{name}/open", folder=real)
    assert len(prompts) == len(set(prompts)) >= 49
    for split in ("train", "validation"):
        asked = {e.prompt.split("\n\nChoices")[0] for e in load_examples(name, split, folder=real)}
        assert not asked & {prompt.removesuffix("\n\nAnswer:") for prompt in prompts}


@pytest.mark.parametrize("name", registered_hashes())
def test_registered_hash(name, real):
    assert hashlib.sha256((real / name).read_bytes()).hexdigest() == registered_hashes()[name]
