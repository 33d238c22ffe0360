"""Questions with several options: their fields, tokens, batches, and the loss by hand."""

import math

import pytest
import torch
import zoo

from coldlens.datasets import load_examples
from coldlens.directions import ColdJVP, ColdKernel
from coldlens.errors import ExampleError
from coldlens.examples.batch import batch_of, batches
from coldlens.examples.example import Example, ExampleSet, TokenPolicy
from coldlens.examples.tokens import Encoded, encode
from coldlens.losses import DPO, OptionDistribution, default_loss, option_log_probs
from coldlens.models.load import load_model

YES, NO, MAYBE, A, B = (zoo.WORDS.index(word) for word in ("yes", "no", "maybe", "A", "B"))


def test_positive_and_negative_are_the_most_and_the_least_probable():
    example = Example("red (", options=["A", "B", "yes"], distribution=[0.3, 0.6, 0.1])
    assert (example.positive, example.negative) == ("B", "yes")
    assert (example.options, example.distribution) == (("A", "B", "yes"), (0.3, 0.6, 0.1))


def test_ties_are_broken_by_order():
    example = Example("red (", options=["A", "B", "yes"], distribution=[1 / 3] * 3)
    assert (example.positive, example.negative) == ("A", "yes")
    example = Example("red (", options=list("ABCD"), distribution=[0, 0.5, 0.5, 0])
    assert (example.positive, example.negative) == ("B", "D")


def test_what_is_given_is_kept():
    options = {"options": ["A", "B"], "distribution": [0.9, 0.1]}
    assert Example("red (", "B", **options).negative is None
    assert Example("red (", "B", "A", **options).positive == "B"
    assert Example("red (", negative="C", **options).negative == "C"


def test_equality_and_hash():
    example = Example("red (", "A", "B", options=["A", "B"], distribution=[0.9, 0.1])
    assert example == Example("red (", options=("A", "B"), distribution=(0.9, 0.1))
    assert hash(example) == hash(Example("red (", options=("A", "B"), distribution=(0.9, 0.1)))
    assert example != Example("red (", "A", "B")
    assert example != Example("red (", "A", "B", options=["A", "B"], distribution=[0.8, 0.2])
    sets = [
        ExampleSet((Example("red (", "A", "B", options=["A", "B"], distribution=[q, 1 - q]),))
        for q in (0.25, 0.5)
    ]
    assert sets[0].hash() != sets[1].hash()
    assert sets[0].sample(1).hash() == sets[0].hash()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "`positive`, or `options` with their `distribution`; found neither"),
        ({"options": ["A", "B"]}, "together; found no `distribution`"),
        ({"distribution": [0.5, 0.5]}, "together; found no `options`"),
        ({"options": ["A"], "distribution": [1.0]}, "two or more .*; found 1 options and 1 prob"),
        ({"options": ["A", "B"], "distribution": [1.0]}, "found 2 options and 1 probabilities"),
        ({"options": ["A", ""], "distribution": [0.5, 0.5]}, "`options` with at least one token"),
        (
            {"options": ["A", "B"], "distribution": [0.5, 0.6]},
            r"not negative and sum to 1; found \[0\.5, 0\.6\], which sum to 1\.1. Divide counts",
        ),
        ({"options": ["A", "B"], "distribution": [1.5, -0.5]}, r"found \[1\.5, -0\.5\]"),
        ({"options": ["A", "B"], "distribution": [1.0, 2e-6]}, "sum to 1.000002"),
        ({"options": ["A", "B"], "distribution": [float("nan"), 1.0]}, "which sum to nan"),
    ],
)
def test_options_that_are_refused(fields, text):
    with pytest.raises(ExampleError, match=text):
        Example("red (", **fields)


def test_a_sum_within_the_tolerance_is_taken_as_it_is():
    assert Example("red (", options=["A", "B"], distribution=[1, 9e-7]).distribution == (1.0, 9e-7)


def encoded(model, *examples, **policy):
    return encode(model, ExampleSet(examples, policy=TokenPolicy(**policy)))


def test_option_tokens(model):
    example = Example("red (", options=["A", "B"], distribution=[0.25, 0.75])
    found = encoded(model, example)[0]
    assert (found.options, found.distribution) == ((A, B), (0.25, 0.75))
    assert (found.positive, found.negative) == ((B,), (A,))
    words = Example("red", options=[" yes", " no", [MAYBE]], distribution=[0.5, 0.25, 0.25])
    assert encoded(model, words)[0].options == (YES, NO, MAYBE)
    assert encoded(model, Example("red", " yes"))[0].options is None


def test_option_tokens_after_a_chat_template(chat_model):
    example = Example("red", options=["A", "B"], distribution=[0.25, 0.75])
    found = encoded(chat_model, example, chat_template=True, answer_prefix="(")[0]
    assert found.options == (A, B)


def test_option_of_several_tokens(model):
    fine = Example("red", " yes")
    words = Example("red", options=[" yes", " maybe no"], distribution=[0.5, 0.5])
    with pytest.raises(
        ExampleError,
        match=r"one token after the prompt; found ' maybe no' in example 1, which is 2 tokens: "
        r"\['maybe', 'no'\]. Let the prompt list the options by letters",
    ):
        encoded(model, fine, words)
    ids = Example("red", options=[[YES], [NO, A]], distribution=[0.5, 0.5])
    with pytest.raises(ExampleError, match=rf"found \({NO}, {A}\) in example 0, which is 2 tokens"):
        encoded(model, ids)


def test_options_of_one_token(model):
    example = Example("red", options=[" yes", [YES], " no"], distribution=[0.5, 0.25, 0.25])
    with pytest.raises(
        ExampleError, match=rf"found ' yes' and \({YES},\) in example 0, which are both \[{YES}\]"
    ):
        encoded(model, example)
    unknown = Example("red", options=[" Yea", " Nay"], distribution=[0.5, 0.5])
    with pytest.raises(ExampleError, match=r"' Yea' and ' Nay' .* both \['<unk>'\]. Leave one"):
        encoded(model, unknown)


ENCODED = [
    Encoded((11, 12, 13), (5,), (7,), (5, 7), (0.75, 0.25)),
    Encoded((14,), (6, 9), (5,), (8, 6, 5, 0), (0.1, 0.4, 0.3, 0.2)),
    Encoded((11, 15), (5,), None),
]


@pytest.mark.parametrize("side", ["left", "right"])
def test_batch_by_hand(side):
    batch = batch_of(ENCODED, [1, 0], ["positive", "negative"], padding_side=side)
    assert batch.option_ids.tolist() == [[8, 6, 5, 0], [5, 7, 0, 0]]
    assert batch.option_mask.tolist() == [[True] * 4, [True, True, False, False]]
    assert batch.distribution.tolist() == [[0.1, 0.4, 0.3, 0.2], [0.75, 0.25, 0, 0]]
    assert batch.distribution.dtype == torch.float64


def test_batch_without_options():
    for index in ([2], [0, 2]):
        batch = batch_of(ENCODED, index, ["positive"])
        assert batch.option_ids is batch.option_mask is batch.distribution is None
        with pytest.raises(ExampleError, match="options in every example of the batch; found"):
            OptionDistribution()(torch.zeros(*batch.tokens.shape, 20), batch)


def test_options_go_to_the_device_of_the_batch():
    (batch,) = batches(ENCODED[:2], ["positive"], 2, device="meta")
    devices = {tensor.device.type for tensor in (batch.option_ids, batch.option_mask)}
    assert devices == {batch.distribution.device.type} == {"meta"}


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("sides", [["positive"], ["negative", "positive"]])
def test_loss_by_hand(side, sides):
    batch = batch_of(ENCODED, [0, 1], sides, padding_side=side)
    logits = torch.zeros(*batch.tokens.shape, 20, dtype=torch.float64)
    for row, prompt_end in (
        (batch.rows("positive").start, 13),
        (batch.rows("positive").stop - 1, 14),
    ):
        logits[row, batch.tokens[row].tolist().index(prompt_end), 5] = math.log(3)
    found = OptionDistribution()(logits, batch)
    first = -(0.75 * math.log(3 / 4) + 0.25 * math.log(1 / 4))
    second = -(0.3 * math.log(3 / 6) + 0.7 * math.log(1 / 6))
    torch.testing.assert_close(found, torch.tensor([first, second], dtype=torch.float64))
    exact = option_log_probs(logits, batch).exp()
    torch.testing.assert_close(
        exact, torch.tensor([[3, 1, 0, 0], [2 / 3, 2 / 3, 2, 2 / 3]], dtype=torch.float64) / 4
    )


def test_gradient_is_probability_minus_share_and_touches_no_other_token():
    batch = batch_of(ENCODED, [0, 1], ["positive"])
    logits = torch.randn(*batch.tokens.shape, 20, dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(OptionDistribution()(logits, batch).sum(), logits)
    expected = torch.zeros_like(logits)
    for row, place in ((0, 2), (1, 0)):
        options = list(ENCODED[row].options)
        shares = torch.tensor(ENCODED[row].distribution, dtype=torch.float64)
        expected[row, place, options] = logits[row, place, options].detach().softmax(-1) - shares
    torch.testing.assert_close(found, expected)


def test_half_precision_is_normalised_in_float32():
    batch = batch_of(ENCODED, [0, 1], ["positive"])
    logits = torch.randn(*batch.tokens.shape, 20).half()
    found = OptionDistribution()(logits, batch)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, OptionDistribution()(logits.float(), batch))


@pytest.mark.parametrize("method", [ColdKernel, ColdJVP])
def test_examples_without_a_distribution_are_refused_before_any_work(model, method, monkeypatch):
    def forward(*_, **__):
        raise AssertionError("the model ran")

    monkeypatch.setattr(model, "forward", forward)
    examples = [Example("red", options=[" yes", " no"], distribution=[1, 0]), Example("red", " no")]
    with pytest.raises(
        ExampleError,
        match=r"options and a distribution in every example for OptionDistribution\(\); found none "
        r"in 1 of 2, first at index 1. Build them with",
    ):
        method(loss=OptionDistribution()).fit(model, examples)


def test_a_step_along_the_direction_lowers_the_loss_of_the_group():
    model, loss = load_model("demo"), OptionDistribution()
    examples = load_examples("demo/groups/pilot", n=8)

    def mean_loss():
        found = [
            loss(model(batch.tokens, return_type="logits"), batch)
            for batch in batches(encode(model, examples), ["positive"], 1)
        ]
        return torch.cat(found).mean().item()

    steering = ColdKernel(loss=loss).fit(model, examples).normalized()
    with torch.no_grad():
        before = mean_loss()
        with steering.apply(model, layer=2, eta=0.1, positions="prompt"):
            towards = mean_loss()
        with steering.apply(model, layer=2, eta=-0.1, positions="prompt"):
            away = mean_loss()
    assert towards < before < away


def test_the_default_loss_is_that_of_the_distribution():
    poll = Example("poll ( A B ) :", options=(" A", " B"), distribution=(0.7, 0.3))
    pair = Example("red", " blue", " green")
    assert default_loss(ExampleSet((poll, poll))) == OptionDistribution()
    assert default_loss(ExampleSet((poll, pair))) == DPO()
