"""Distances to groups: what they are made of, and a small run."""

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from analyses.pluralistic import Pluralistic
from analyses.pluralistic_measure import moved, steered
from analyses.pluralistic_tables import overall, with_topics
from coldlens import demo
from coldlens.datasets import load_examples
from coldlens.demo.measure_groups import group_distance
from coldlens.directions import ColdJVP
from coldlens.examples.tokens import encode
from coldlens.losses import OptionDistribution
from coldlens.models.load import load_model
from coldlens.references import fine_tuned, run
from coldlens.steering.parametric import TangentSteering
from coldlens.sweep import demo_facts

pytestmark = pytest.mark.slow

GROUPS = ("farmer", "poet")
METHODS = ("ColdFD", "ColdKernel", "ColdJVP, 2 steps", "2 steps taken", "Random", "told the group")


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    out = tmp_path_factory.mktemp("pluralistic") / "out"
    settings = {"groups": GROUPS, "n": 6, "steps": 2, "etas": (0.3,), "facts": 4}
    return Pluralistic(out, **settings).run()


@pytest.fixture(scope="module")
def steering():
    model, train = load_model("demo"), load_examples("demo/groups/pilot", n=6)
    found = ColdJVP(OptionDistribution()).fit(model, train)
    assert isinstance(found, TangentSteering)
    return found


def test_rows(tables):
    groups = tables["groups"]
    assert set(zip(groups.method, groups.group, strict=True)) == {
        (method, group) for method in METHODS for group in GROUPS
    }
    assert len(tables["pairs"]) == len(METHODS) * 4
    assert (tables["overall"].clusters == 6).all()
    assert len(tables["choices"]) == 8


def test_distances_without_steering_and_when_told_are_those_of_plain_transformers(tables):
    network = AutoModelForCausalLM.from_pretrained(demo.WEIGHTS).eval()
    tokenizer = AutoTokenizer.from_pretrained(demo.WEIGHTS)
    groups = tables["groups"].set_index(["method", "group"])
    for group in GROUPS:
        plain = group_distance(network, tokenizer, group, "test")
        told = group_distance(network, tokenizer, group, "test", "after")
        for method in METHODS:
            assert groups.loc[(method, group), "unsteered"] == pytest.approx(plain, abs=1e-5)
        assert groups.loc[("told the group", group), "steered"] == pytest.approx(told, abs=1e-5)


def test_a_choice_that_does_not_help_on_validation_is_not_made(tables):
    choices = tables["choices"]
    assert (choices.validation <= choices.unsteered_validation).all()
    assert ((choices.eta > 0) == (choices.validation < choices.unsteered_validation)).all()


def test_changes_add_up(tables):
    for name in ("groups", "pairs", "overall"):
        table = tables[name]
        assert np.allclose(table.change, table.steered - table.unsteered)
    pairs = tables["pairs"].set_index(["method", "towards", "measured"]).change
    groups = tables["groups"].set_index(["method", "group"])
    for method in METHODS:
        found = groups.loc[(method, "farmer")]
        assert found.change == pytest.approx(pairs[method, "farmer", "farmer"], abs=1e-9)
        assert found.others_change == pytest.approx(pairs[method, "farmer", "poet"], abs=1e-9)


def test_the_best_cell_is_chosen(steering):
    validation = load_examples("demo/groups/pilot", "validation", n=5)
    facts = demo_facts(8)
    asked = {"validation": validation, "capability_validation": facts[:4]}
    asked |= {"capability_test": facts[4:]}
    etas = (0.1, 1.0)
    _, choice = steered(steering, asked, {"pilot": validation}, etas, budget=1.0)
    found = {}
    for layer in steering.layers:
        for eta in etas:
            _, one = steered(steering, asked, {"pilot": validation}, (eta,), budget=1.0)
            found[layer, eta] = one["validation"]
    assert choice["validation"] == pytest.approx(min(found.values()))
    assert choice["unsteered_validation"] > choice["validation"]
    # Nothing is allowed to lose accuracy that was never there: the model stays as it is.
    rows, choice = steered(steering, asked, {"pilot": validation}, etas, budget=-2.0)
    assert choice["eta"] == 0
    assert (rows.total_variation == rows.unsteered_total_variation).all()


def test_the_steps_taken_are_those_of_fine_tuning(steering):
    """Up to what the parameters after the deepest fitted layer do."""
    model, train = steering.model, load_examples("demo/groups/pilot", n=6)
    test = load_examples("demo/groups/pilot", "test", n=3)
    rows = moved(steering, 0.05, {"pilot": test})
    tuned = fine_tuned(model, encode(model, train), OptionDistribution(), 1, 0.05)
    for place, one in enumerate(encode(model, test)):
        assert one.options is not None
        with torch.no_grad():
            found = run(tuned, one.prompt)[1][-1][list(one.options)].softmax(-1)
        distance = (found - torch.tensor(one.distribution)).abs().sum().item() / 2
        assert rows.total_variation[place] == pytest.approx(distance, abs=2e-3)
    assert (rows.total_variation - rows.unsteered_total_variation).abs().max() > 0.01


def test_intervals_over_topics_do_not_shrink_with_repeated_questions():
    generator = np.random.default_rng(0)
    distances = generator.uniform(0, 1, 3).repeat(9)
    rows = pd.DataFrame(
        {
            "method": "m",
            "towards": "poet",
            "measured": "poet",
            "question": range(27),
            "total_variation": distances,
            "unsteered_total_variation": 0.5,
        }
    )
    # Distances follow the topics, as answers do.
    order = np.argsort(with_topics(rows).topic.to_numpy(), kind="stable")
    rows.loc[order, "total_variation"] = distances
    found = overall(with_topics(rows))
    assert found.clusters.tolist() == [3]
    assert found.steered_low[0] == pytest.approx(distances.min())
    assert found.steered_high[0] == pytest.approx(distances.max())
