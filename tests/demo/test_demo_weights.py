"""The bundled model does what its world promises, measured on test questions."""

import pytest
import torch

from coldlens.demo import WEIGHTS
from coldlens.demo.measure import (
    base_rates,
    letter_logits,
    matching_rate,
    persona_matrix,
    specificity,
    told,
)
from coldlens.demo.measure_groups import group_distance
from coldlens.demo.measure_open import open_shares
from coldlens.demo.vocabulary import build_tokenizer, vocabulary
from coldlens.demo.world import BEHAVIOURS, GROUPS, facts, questions

N = 48
MEGABYTES = 4


@pytest.fixture(scope="module")
def base(demo_model, demo_tokenizer):
    """Rates without a persona."""
    return base_rates(demo_model, demo_tokenizer, "test", N)


@pytest.fixture(scope="module", params=["before", "after"])
def personas(request, demo_model, demo_tokenizer):
    """Rates under the persona of each behaviour."""
    return persona_matrix(demo_model, demo_tokenizer, "test", N, 1, request.param)


def test_folder_is_small_and_in_single_precision(demo_model):
    assert sum(file.stat().st_size for file in WEIGHTS.iterdir()) <= MEGABYTES * 1e6
    assert {parameter.dtype for parameter in demo_model.parameters()} == {torch.float32}


def test_tokenizer_is_that_of_the_world(demo_tokenizer):
    assert demo_tokenizer.get_vocab() == vocabulary() == build_tokenizer().get_vocab()
    prompt = questions("refusal", "test", 1)[0].prompt
    ids = demo_tokenizer(prompt)["input_ids"]
    assert ids[0] == demo_tokenizer.bos_token_id
    assert demo_tokenizer.decode(ids[1:]) == prompt
    assert demo_tokenizer.unk_token_id not in ids
    answered = demo_tokenizer(prompt + "A")["input_ids"]
    assert answered == [*ids, *demo_tokenizer.convert_tokens_to_ids(["A"])]
    assert demo_tokenizer.pad_token_id != demo_tokenizer.eos_token_id


def test_model_is_undecided_without_a_persona(base):
    assert ((base >= 0.15) & (base <= 0.65)).all(), base


def test_personas_are_followed(personas):
    assert (personas.diagonal() >= 0.85).all(), personas.diagonal()


def test_personas_move_their_own_behaviour_most(personas, base):
    ratios = specificity(personas, base)
    assert (ratios >= 2).all(), ratios


def test_opposite_personas_are_followed(demo_model, demo_tokenizer):
    for name in BEHAVIOURS:
        asked = told(questions(name, "test", N), name, -1, "before")
        assert matching_rate(demo_model, demo_tokenizer, asked) <= 0.15


def test_facts_and_sums_are_known(demo_model, demo_tokenizer):
    assert matching_rate(demo_model, demo_tokenizer, facts("test")) >= 0.97


def test_open_answers_follow_personas(demo_model, demo_tokenizer):
    for name in BEHAVIOURS:
        shown, _, neither = open_shares(demo_model, demo_tokenizer, name, "test", 1, "after")
        opposite, _, _ = open_shares(demo_model, demo_tokenizer, name, "test", -1, "after")
        assert shown >= 0.85
        assert opposite <= 0.15
        assert neither <= 0.15


def test_groups_are_closer_to_their_answers_when_named_after_the_options(
    demo_model, demo_tokenizer
):
    def mean(where):
        distances = [
            group_distance(demo_model, demo_tokenizer, group, "test", where) for group in GROUPS
        ]
        return sum(distances) / len(distances)

    assert mean("after") < 0.5 * mean(None)


def test_padding_changes_no_logit(demo_model, demo_tokenizer):
    prompts = [q.prompt for q in questions("refusal", "test", 4)]
    together = letter_logits(demo_model, demo_tokenizer, prompts, ("A", "B"))
    alone = torch.cat(
        [letter_logits(demo_model, demo_tokenizer, [prompt], ("A", "B")) for prompt in prompts]
    )
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_wrong_places_are_explained(demo_model, demo_tokenizer):
    with pytest.raises(ValueError, match="expected 'before' or 'after'"):
        open_shares(demo_model, demo_tokenizer, "refusal", "test", 1, "inside")
    with pytest.raises(ValueError, match="expected 'before', 'after' or None"):
        group_distance(demo_model, demo_tokenizer, "poet", "test", "inside")


def test_specificity_of_a_known_matrix():
    base = torch.tensor([0.5, 0.5, 0.5])
    matrix = torch.tensor([[1.0, 0.6, 0.4], [0.5, 0.0, 0.7], [0.9, 0.1, 0.5]])
    expected = torch.tensor([5.0, 5.0, 0.0])
    torch.testing.assert_close(specificity(matrix, base), expected, rtol=1e-5, atol=1e-5)
