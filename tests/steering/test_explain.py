"""`Steering.explain` shows the tokens that `apply` steers."""

import pytest
import zoo

from coldlens.directions import ColdJVP, DiffMean
from coldlens.errors import ExampleError

PROMPT = "red blue green"


@pytest.fixture(scope="module")
def model():
    return zoo.bridge("llama")


@pytest.mark.parametrize(
    ("positions", "shown", "later"),
    [
        ("prompt", "«<s>» «red» «blue» «green»", "No generated token"),
        ("last_prompt", "<s> red blue «green»", "No generated token"),
        ((-2, None), "<s> red «blue» «green»", "No generated token"),
        ("all", "«<s>» «red» «blue» «green»", "Each generated token"),
        ("generated", "<s> red blue green", "Each generated token"),
        ("first_generated", "<s> red blue green", "The first generated token"),
    ],
    ids=str,
)
def test_tokens_and_what_follows(model, examples, positions, shown, later):
    text = DiffMean().fit(model, examples, 1).explain(PROMPT, positions)
    first, second, third = text.split("\n")
    assert first == shown
    assert second.startswith(f"Steered in «»: {shown.count('«')} of 4.")
    assert "one vector a layer, whatever the prompt" in second
    assert third.startswith(later)


def test_an_input_dependent_steering_reads_the_prompt(model, examples):
    text = ColdJVP().fit(model, examples, 1).explain((1, 6, 7), "generated")
    assert "displacement of each of these 3 tokens is computed from it" in text
    assert "with the displacement of the prompt's last token" in text


def test_unknown_positions(model, examples):
    with pytest.raises(ExampleError, match="Expected positions among"):
        DiffMean().fit(model, examples, 1).explain(PROMPT, "answer")
