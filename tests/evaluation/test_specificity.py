"""Every steering against every set of questions."""

from importlib import import_module
from inspect import unwrap

import numpy as np
import pytest
from evaluation.conftest import LETTERS, TEXTS

from coldlens.directions import DiffMean
from coldlens.errors import ArgumentError, ColdlensError
from coldlens.evaluation import evaluate, specificity
from coldlens.evaluation.planned import CheckedEvaluation
from coldlens.examples.tokens import encode


@pytest.fixture(scope="module")
def steerings():
    from evaluation.conftest import bridge_of

    model = bridge_of("llama")
    return {"letters": DiffMean().fit(model, LETTERS), "texts": DiffMean().fit(model, TEXTS)}


def test_each_entry_is_an_evaluation(model, steerings):
    questions = {"few": LETTERS[:3], "all": LETTERS}
    found = specificity(model, steerings, questions, 1, 2.0, metrics=["choice", "kl"])
    assert list(found.table)[:3] == ["steered", "measured", "question"]
    assert len(found.table) == 2 * (3 + 5)
    matrix = found.matrix()
    assert (list(matrix.index), list(matrix)) == (["letters", "texts"], ["few", "all"])
    for steered, steering in steerings.items():
        for measured, asked in questions.items():
            one = evaluate(model, asked, steering, 1, 2.0, metrics=["choice", "kl"])
            change = one.summary.change["probability"]
            assert matrix.loc[steered, measured] == pytest.approx(change, abs=1e-6)
            rows = found.table[
                (found.table.steered == steered) & (found.table.measured == measured)
            ]
            assert np.allclose(rows.kl, one.table.kl, atol=1e-7)
    assert found.matrix("kl").min(axis=None) > 0
    assert "2 steerings on 2 sets" in repr(found)
    assert "<table" in found._repr_html_()


def test_each_steering_may_have_its_own_layer_and_eta(model, steerings):
    layer, eta = {"letters": 0, "texts": 2}, {"letters": 1.0, "texts": 3.0}
    found = specificity(
        model, steerings, {"letters": LETTERS}, layer, eta, metrics=["choice"]
    ).matrix()
    one = evaluate(model, LETTERS, steerings["texts"], 2, 3.0, metrics=["choice"]).summary
    assert found.loc["texts", "letters"] == pytest.approx(one.change["probability"], abs=1e-6)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (dict(steerings={}), "at least one steering and one set of questions; found 0 and 1"),
        (dict(layer={"letters": 1}), "the layer of every steering; found none of texts"),
        (dict(eta={"texts": 1.0}), "the eta of every steering; found none of letters"),
    ],
)
def test_bad_input_is_named(model, steerings, change, text):
    settings = dict(steerings=steerings, questions={"letters": LETTERS}, layer=1) | change
    with pytest.raises(ArgumentError) as caught:
        specificity(model, **settings)
    assert text in str(caught.value)


def test_lists_of_examples_are_sets_of_questions(model, steerings):
    sets, lists = (
        specificity(model, steerings, {"few": few}, 1, metrics=["choice"])
        for few in (LETTERS[:3], list(LETTERS[:3]))
    )
    assert lists.about == sets.about
    assert lists.table.equals(sets.table)


def test_each_set_is_tokenised_once(model, steerings, monkeypatch):
    seen = []
    for name in ("planned", "specificity"):
        module = import_module(f"coldlens.evaluation.{name}")
        monkeypatch.setattr(module, "encode", lambda *given: seen.append(given) or encode(*given))
    questions = {"letters": LETTERS, "texts": TEXTS}
    specificity(model, steerings, questions, 1, metrics=["preference"])
    assert [asked for _, asked in seen] == [LETTERS, TEXTS]


LAST = {
    "questions": (dict(questions={"ok": LETTERS, "bad": TEXTS}), "of 3 tokens, negative of 1"),
    "a name": (dict(questions={"ok": LETTERS, "bad": "demo/refusal"}), "found the string 'demo/"),
    "layer": (dict(layer={"letters": 1, "texts": 9}), "found layer 9"),
    "eta": (dict(eta={"letters": 1.0, "texts": float("nan")}), "found eta = nan"),
    "window": (dict(positions=(7, 9)), "found none in row 2, whose prompt has 4 tokens"),
}


@pytest.mark.parametrize("case", LAST)
def test_all_is_checked_before_anything_is_measured(model, steerings, monkeypatch, case):
    monkeypatch.setattr(CheckedEvaluation, "run", None)
    change, text = LAST[case]
    settings = dict(
        steerings=steerings, questions={"ok": LETTERS}, layer=1, eta=1.0, metrics=["choice"]
    )
    with pytest.raises(ColdlensError) as caught:
        unwrap(specificity)(model, **(settings | change))
    assert text in str(caught.value)


def test_an_unmeasured_column_is_named(model, steerings):
    found = specificity(model, steerings, {"texts": TEXTS}, 1, metrics=["preference"])
    assert found.matrix().equals(found.matrix("margin"))
    with pytest.raises(ArgumentError, match="found 'probability'"):
        found.matrix("probability")
