"""From text to ids: BOS exactly once, exact boundaries, token ids as they are."""

import warnings
from typing import Any

import pytest
import torch
import zoo
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from coldlens.errors import ExampleError
from coldlens.examples.example import Example, ExampleSet, TokenPolicy
from coldlens.examples.tokens import BoundaryWarning, encode, encode_prompts

RED, BLUE, YES, NO, BOS = (zoo.WORDS.index(word) for word in ("red", "blue", "yes", "no", "<s>"))


def _encode(model, example: Example, **policy: Any):
    return encode(model, ExampleSet((example,), policy=TokenPolicy(**policy)))[0]


@pytest.mark.parametrize(
    ("bos", "prompt", "expected"),
    [
        ("auto", "red blue", (BOS, RED, BLUE)),
        ("always", "red blue", (BOS, RED, BLUE)),
        ("never", "red blue", (RED, BLUE)),
        ("auto", "<s> red", (BOS, RED)),
        ("always", "<s> red", (BOS, RED)),
        ("never", "<s> red", (BOS, RED)),
    ],
)
def test_bos_exactly_once(model, bos, prompt, expected):
    found = _encode(model, Example(prompt, " yes", " no"), bos=bos)
    assert (found.prompt, found.positive, found.negative) == (expected, (YES,), (NO,))
    assert encode_prompts(model, [prompt], TokenPolicy(bos=bos)) == [expected]


def test_bos_never_comes_into_the_completion(model):
    found = _encode(model, Example("red", " yes no", " no"))
    assert BOS not in found.positive + found.negative
    assert found.sequence("positive") == (BOS, RED, YES, NO)
    assert found.sequence("negative") == (BOS, RED, NO)


@pytest.mark.parametrize("bos", ["auto", "always", "never"])
def test_token_ids_are_used_as_they_are(model, bos):
    found = _encode(model, Example([RED, RED], (YES, NO), torch.tensor([NO]).tolist()), bos=bos)
    assert (found.prompt, found.positive, found.negative) == ((RED, RED), (YES, NO), (NO,))
    half = _encode(model, Example([RED], " yes"), bos=bos)
    assert (half.prompt, half.positive, half.negative) == ((RED,), (YES,), None)
    assert encode_prompts(model, [(RED, 2)], TokenPolicy(bos=bos)) == [(RED, 2)]


def test_chat_template_decides_about_bos(chat_model):
    words = ["<s>", "Input", ":", "red", "Response", ":"]
    expected = tuple(zoo.WORDS.index(word) for word in words)
    for bos in ("auto", "always", "never"):
        found = _encode(chat_model, Example("red", "yes"), chat_template=True, bos=bos)
        assert (found.prompt, found.positive) == (expected, (YES,))
    assert encode_prompts(chat_model, ["red"], TokenPolicy(chat_template=True)) == [expected]


def test_answer_prefix_follows_the_template(chat_model):
    found = _encode(chat_model, Example("red", "A"), chat_template=True, answer_prefix="(")
    assert [zoo.WORDS[token] for token in found.prompt[-3:]] == ["Response", ":", "("]
    assert [zoo.WORDS[token] for token in found.positive] == ["A"]


def test_chat_template_leaves_token_ids_alone(chat_model):
    found = _encode(chat_model, Example((RED,), (YES,)), chat_template=True)
    assert (found.prompt, found.positive) == ((RED,), (YES,))


@pytest.fixture(scope="module")
def merging(tmp_path_factory):
    """A tokenizer of characters that merges "ab", so that a completion can change the prompt."""
    vocabulary = {"<unk>": 0, "<s>": 1, "a": 2, "b": 3, "c": 4, "ab": 5}
    core = Tokenizer(models.BPE(vocabulary, [("a", "b")], unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    special = dict(bos_token="<s>", eos_token="<s>", unk_token="<unk>", pad_token="<unk>")
    folder = tmp_path_factory.mktemp("merging")
    PreTrainedTokenizerFast(tokenizer_object=core, **special).save_pretrained(folder)
    model: Any = zoo.bridge("llama")
    model.tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    return model


def test_exact_boundary_where_nothing_merges(merging):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = _encode(merging, Example("ca", "cab", "a"))
    assert (found.prompt, found.positive, found.negative) == ((1, 4, 2), (4, 5), (2,))


def test_a_merge_across_the_boundary_is_reported(merging):
    examples = ExampleSet(
        (Example("ca", "c"), Example("ca", "bc"), Example("c", "b"), Example("a", "c", "b")),
        name="letters",
    )
    with pytest.warns(
        BoundaryWarning,
        match=r"2 of 4 examples of 'letters' \(index 1, 3\) have a completion that changes",
    ):
        found = encode(merging, examples)
    assert (found[1].prompt, found[1].positive) == ((1, 4, 2), (3, 4))
    assert (found[3].prompt, found[3].positive, found[3].negative) == ((1, 2), (4,), (3,))


def test_many_reported_examples_are_cut_short(merging):
    examples = ExampleSet((Example("a", "b"),) * 7)
    with pytest.warns(BoundaryWarning, match=r"7 of 7 .*\(index 0, 1, 2, 3, 4, …\)"):
        encode(merging, examples)


def test_equal_completions_are_an_error():
    model = zoo.bridge("llama")
    same = [Example("red dog", " blue", " green"), Example("red dog", " blue", " blue")]
    with pytest.raises(ExampleError, match="that differ; found the same tokens in example 1"):
        encode(model, ExampleSet(tuple(same)))


def test_prompts_as_lists_of_ids():
    model, policy = zoo.bridge("llama"), TokenPolicy()
    assert encode_prompts(model, [[1, 6, 7], (1, 6)], policy) == [(1, 6, 7), (1, 6)]
