"""Demonstrations before each question."""

import warnings

import pytest
import zoo

from coldlens.errors import ExampleError
from coldlens.examples.example import Example, ExampleSet, TokenPolicy
from coldlens.examples.in_context import in_context
from coldlens.examples.tokens import BoundaryWarning, encode

SHOWN = ExampleSet(
    (
        Example("question : red ?", " yes", " no"),
        Example("question : blue ?", " no", " yes"),
        Example("question : cat ?", " never", " always"),
    )
)
ASKED = ExampleSet(
    (Example("question : dog ?", " yes", " no"), Example("question : stone ?", " no")),
    name="asked",
    source="here",
)


@pytest.fixture(scope="module")
def model():
    return zoo.bridge("llama")


def test_the_text(model):
    found = in_context(model, SHOWN, ASKED, k=2)
    assert found[0].prompt == ("question : red ? yes\n\nquestion : blue ? no\n\nquestion : dog ?")
    assert (found.name, found.source, found.policy) == (ASKED.name, ASKED.source, ASKED.policy)
    assert [e.positive for e in found] == [" yes", " no"]
    assert [e.negative for e in found] == [" no", None]
    assert ASKED[0].prompt == "question : dog ?"


def test_all_demonstrations_by_default(model):
    assert in_context(model, SHOWN, ASKED) == in_context(model, SHOWN, ASKED, k=3)
    assert in_context(model, SHOWN, ASKED) != in_context(model, SHOWN, ASKED, k=2)


def test_options_stay(model):
    question = Example("question ?", options=(" yes", " no"), distribution=(0.25, 0.75))
    (found,) = in_context(model, SHOWN, ExampleSet((question,)))
    assert (found.options, found.distribution) == (question.options, question.distribution)
    assert found.positive == " no"


@pytest.mark.parametrize(("bos", "count"), [("auto", 1), ("always", 1), ("never", 0)])
@pytest.mark.parametrize("front", ["", "<s> "])
def test_one_bos_token(model, bos, count, front):
    policy = TokenPolicy(bos=bos)
    asked = ExampleSet(tuple(Example(front + e.prompt, e.positive) for e in ASKED), policy=policy)
    shown = ExampleSet(tuple(Example(front + e.prompt, e.positive) for e in SHOWN))
    for example in encode(model, in_context(model, shown, asked)):
        assert example.prompt.count(1) == (1 if front else count)
        assert 1 not in example.prompt[1:]


def test_chat_template(model):
    tokenizer = model.tokenizer
    before = tokenizer.chat_template
    tokenizer.chat_template = "Input : {{ messages[0]['content'] }} Response :"
    try:
        policy = TokenPolicy(bos="never", chat_template=True, answer_prefix=" (")
        asked = ExampleSet((Example("dog ?", " A"),), policy=policy)
        shown = ExampleSet((Example("cat ?", " B"),), policy=policy)
        found = in_context(model, shown, asked)
        assert found[0].prompt == "cat ? ( B\n\ndog ?"
        words = tokenizer.decode(encode(model, found)[0].prompt)
    finally:
        tokenizer.chat_template = before
    assert words == "Input : cat ? ( B dog ? Response : ("


def test_too_long_says_how_many_fit(model):
    longest = max(len(e.prompt + e.positive) for e in encode(model, ASKED))
    one = len(encode(model, SHOWN)[0].prompt)  # with BOS in place of the completion
    fits = (model.cfg.n_ctx - longest) // one
    many = ExampleSet(SHOWN.examples * 10)
    assert 3 < fits < 30
    with pytest.raises(ExampleError, match=rf"with 30 demonstrations\. Use k <= {fits}\."):
        in_context(model, many, ASKED)
    in_context(model, many, ASKED, k=fits)
    with pytest.raises(ExampleError, match=rf"Use k <= {fits}\."):
        in_context(model, many, ASKED, k=fits + 1)


def test_not_even_one_fits(model):
    huge = ExampleSet((Example("red " * 62, " yes"), Example("red", " yes")))
    with pytest.raises(ExampleError, match="Not even one fits"):
        in_context(model, huge, ASKED)
    with pytest.raises(ExampleError, match="example 0"):
        in_context(model, SHOWN, ExampleSet((Example("red " * 70, " yes"),)))


@pytest.mark.parametrize("k", [0, -1, 4])
def test_k_out_of_range(model, k):
    with pytest.raises(ExampleError, match="k between 1 and 3"):
        in_context(model, SHOWN, ASKED, k=k)


def test_token_ids_are_refused(model):
    ids = ExampleSet((Example((1, 2, 3), (4,)),))
    for shown, asked in ((ids, ASKED), (SHOWN, ids)):
        with pytest.raises(ExampleError, match="as texts"):
            in_context(model, shown, asked)


def test_a_boundary_is_reported_when_the_set_is_used(model):
    asked = ExampleSet((Example("question : do", "g"),))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = in_context(model, SHOWN, asked)
    with pytest.warns(BoundaryWarning):
        encode(model, found)
