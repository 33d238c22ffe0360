"""Errors about examples: expected, found, and what to do."""

from typing import Any

import pytest
import torch
import zoo

from coldlens import EmpiricalNTK, compare_directions
from coldlens.directions import ICV, ColdJVP, ColdKernel, DiffMean, Probe, RepE
from coldlens.errors import ArgumentError, ColdlensError, ExampleError, ExampleTypeError
from coldlens.examples.example import Example, ExampleSet, TokenPolicy, as_text
from coldlens.losses import DPO, ContrastiveSquaredError, NegativeCrossEntropy

POSITIVE_ONLY = [Example("red", " yes", " no"), Example("blue", " stay"), Example("one", " two")]


def test_every_message_has_three_parts():
    error = ExampleError(expected="one thing", found="another", fix="Do this")
    assert str(error) == "Expected one thing; found another. Do this."
    assert (error.expected, error.found, error.fix) == ("one thing", "another", "Do this")
    assert isinstance(error, ColdlensError)
    assert isinstance(error, ValueError)
    assert issubclass(ExampleTypeError, TypeError)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (("", " yes"), "`prompt` with at least one token; found an empty one. Give a non-empty"),
        (("red", ""), "`positive` with at least one token"),
        (("red", []), "`positive` with at least one token"),
        (("red", " yes", ""), "`negative` .* or None for positive-only data"),
    ],
)
def test_empty_fields(fields, text):
    with pytest.raises(ExampleError, match=text):
        Example(*fields)


def test_no_examples(llama):
    with pytest.raises(ExampleError, match=r"at least one example in 'examples'; found none. Pass"):
        DiffMean().fit(llama, [])
    with pytest.raises(ExampleError, match="in 'mine'"):
        ExampleSet((), name="mine")
    with pytest.raises(ExampleError, match="at least one example"):
        ExampleSet(tuple(POSITIVE_ONLY))[3:]


def test_sampling_too_many():
    with pytest.raises(ExampleError, match=r"n between 1 and 3, .* found n = 4. Choose n"):
        ExampleSet(tuple(POSITIVE_ONLY)).sample(4)
    with pytest.raises(ExampleError, match="found n = 0"):
        ExampleSet(tuple(POSITIVE_ONLY)).sample(0)


@pytest.mark.parametrize(
    "method",
    [
        *(DiffMean(), RepE(), ICV(), Probe(), ColdKernel(DPO()), ColdJVP(NegativeCrossEntropy())),
        ColdKernel(ContrastiveSquaredError(), positions="answer"),
    ],
    ids=lambda method: method.label,
)
def test_missing_negatives(llama, method):
    with pytest.raises(
        ExampleError,
        match=r"a negative completion in every example for .*; found none in 2 of 3, first at "
        r"index 1. Add negatives, or use",
    ):
        method.fit(llama, POSITIVE_ONLY)


@pytest.mark.parametrize(
    ("example", "text"),
    [
        (Example("red " * 64, " yes"), r"at most 64 tokens, the model's context; found 66 tokens "
         r"in example 1 \(positive\). Shorten or drop it"),
        (Example("red", " yes", " no" * 64), r"found 66 tokens in example 1 \(negative\)"),
        (Example([1, 99], " yes"), r"token ids between 0 and 48; found 1 to 99 in example 1"),
        (Example([1, 2], [-1, 4]), "found -1 to 4 in the positive completion of example 1"),
        (Example("red", "   "), "at least one token in the positive completion of example 1"),
    ],
    ids=["long", "long negative", "prompt ids", "completion ids", "blank"],
)  # fmt: skip
def test_examples_that_cannot_be_read(llama, example, text):
    with pytest.raises(ExampleError, match=text):
        ColdJVP().fit(llama, [Example("blue", " yes"), example])


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        (["red", "blue " * 64], "found 65 tokens in prompt 1"),
        ([], r"at least one prompt; found \[\]"),
        ("", "`prompt 0` with at least one token; found an empty one"),
        (["red", ""], "`prompt 1` with at least one token; found an empty one"),
        (torch.zeros(1, 65, dtype=torch.long), "found 65 tokens in row 0"),
        (torch.tensor([[1, 49]]), "found 1 to 49 in row 0"),
        (torch.zeros(0, 3, dtype=torch.long), r"found a tensor of shape \(0, 3\)"),
    ],
    ids=["long text", "none", "empty", "one empty", "long ids", "unknown id", "empty tensor"],
)
def test_inputs_of_a_displacement(llama, examples, inputs, text):
    steering = ColdJVP().fit(llama, examples)
    with pytest.raises(ExampleError, match=text):
        steering.displacement(inputs)


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (torch.ones(2, 3), r"the tokens' shape \(2, 2\); found a mask of shape \(2, 3\). Pass one"),
        (
            torch.tensor([[0, 1], [0, 0]]),
            r"one real token in every row; found padding alone in row 1. Drop the row, or pass",
        ),
    ],
    ids=["shape", "nothing"],
)
def test_masks_of_a_displacement(llama, examples, mask, text):
    steering = ColdJVP().fit(llama, examples)
    with pytest.raises(ExampleError, match=text):
        steering.displacement(torch.tensor([[1, 2], [3, 4]]), mask)


def test_empty_prompts_are_refused_like_empty_examples(llama, examples):
    text = "`prompt 0` with at least one token; found an empty one"
    steering = DiffMean().fit(llama, examples)
    for use in (
        lambda: compare_directions(llama, examples, prompts=[""]),
        lambda: EmpiricalNTK(llama, [""], examples),
        lambda: steering.explain(""),
        lambda: steering.readings([()]),
    ):
        with pytest.raises(ExampleError, match=text):
            use()


@pytest.mark.parametrize("positions", ["everywhere", "generated", "first_generated"])
def test_unknown_positions(llama, examples, positions):
    with pytest.raises(
        ExampleError,
        match=f"positions among last_prompt, prompt, answer, last_answer, all, or a window .*; "
        f"found '{positions}'",
    ):
        ColdKernel(positions=positions).fit(llama, examples)


def test_a_window_outside_the_prompt(llama, examples):
    with pytest.raises(
        ExampleError, match=r"positions \(5, 7\) .* found none in row 0, whose prompt has 3 tokens"
    ):
        ColdKernel(positions=(5, 7)).fit(llama, examples)


def test_an_answer_prefix_belongs_to_a_chat_template():
    with pytest.raises(
        ArgumentError, match=r"only with chat_template=True; found answer_prefix = '\(' without"
    ):
        TokenPolicy(answer_prefix="(")


def test_no_chat_template(llama, examples):
    chat = ExampleSet(examples.examples, policy=TokenPolicy(chat_template=True))
    with pytest.raises(ExampleError, match="a tokenizer with a chat template; found a tokenizer"):
        DiffMean().fit(llama, chat)


def test_bos_always_without_bos(examples):
    model = zoo.bridge("llama")
    tokenizer: Any = model.tokenizer
    tokenizer.bos_token = None
    always = ExampleSet(examples.examples, policy=TokenPolicy(bos="always"))
    with pytest.raises(ExampleError, match=r'BOS token for bos="always"; found .*bos="auto"'):
        DiffMean().fit(model, always)
    automatic = ExampleSet(examples.examples, policy=TokenPolicy(bos="auto"))
    assert DiffMean().fit(model, automatic).prompts[1] == (4, 42)


def test_float_token_ids_are_refused():
    unchecked = as_text.__wrapped__  # without the type checker of the tests
    for prompt in ([1.5, 2], ["1", "2"], 7, None, b"red", [True, False]):
        with pytest.raises(ExampleTypeError, match="`prompt` to be a string or a sequence of tok"):
            unchecked(prompt, "prompt")
