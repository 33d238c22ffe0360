"""Distances to groups: what they are made of, and a small run."""

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from analyses.pluralistic import Pluralistic
from analyses.pluralistic_measure import cells, chosen_cells, moved
from analyses.pluralistic_tables import ALL, EACH, by_group, overall, with_changes
from coldlens import demo
from coldlens.datasets import load_examples
from coldlens.demo.measure_groups import group_distance
from coldlens.directions import ColdJVP, FineTune
from coldlens.evaluation import evaluate
from coldlens.examples.tokens import encode
from coldlens.losses import OptionDistribution
from coldlens.models.load import load_model
from coldlens.references import fine_tuned, run
from coldlens.steering.parametric import DifferenceSteering
from coldlens.sweep import demo_facts

pytestmark = pytest.mark.slow

GROUPS = ("farmer", "poet")
STEERED = ("ColdFD", "ColdKernel", "ColdJVP, 2 steps", "FineTune, 2 steps", "Random")
METHODS = (*STEERED, "2 steps taken", "told the group")


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    out = tmp_path_factory.mktemp("pluralistic") / "out"
    settings = {"groups": GROUPS, "n": 6, "steps": 2, "etas": (0.3,), "facts": 4}
    return Pluralistic(out, **settings).run()


@pytest.fixture(scope="module")
def steering():
    model, train = load_model("demo"), load_examples("demo/groups/pilot", n=6)
    return ColdJVP(OptionDistribution()).fit(model, train)


def test_rows(tables):
    groups = tables["groups"]
    assert set(zip(groups.method, groups.group, strict=True)) == {
        (method, group) for method in METHODS for group in GROUPS
    }
    assert len(tables["pairs"]) == len(METHODS) * 4
    assert (tables["overall"].clusters == 6).all()
    assert len(tables["overall"]) == len(STEERED) + len(METHODS)
    assert len(tables["choices"]) == len(STEERED) * 2 * len(GROUPS)


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
    each = choices[choices.chosen == EACH]
    assert (each.validation <= each.unsteered_validation).all()
    assert ((each.eta > 0) == (each.validation < each.unsteered_validation)).all()
    together = choices[choices.chosen == ALL].groupby("method")
    assert all(len(set(zip(rows.layer, rows.strength, strict=True))) == 1 for _, rows in together)
    means = together[["validation", "unsteered_validation"]].mean()
    assert (means.validation <= means.unsteered_validation).all()


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
    found = cells(steering, asked, (0.1, 1.0), own=0.5)
    assert found.strength.tolist() == ["0", *["own", "0.1", "1"] * len(steering.layers)]
    for _, cell in found.iterrows():
        rows = evaluate(steering.model, validation, steering, int(cell.layer), float(cell.eta))
        assert cell.validation == pytest.approx(rows.table.total_variation.mean(), abs=1e-6)
    for one in chosen_cells({"pilot": found}, budget=1.0):
        assert one["validation"] == found.validation.min() < one["unsteered_validation"]
    # Nothing is allowed to lose accuracy that was never there: the model stays as it is.
    assert [one["eta"] for one in chosen_cells({"pilot": found}, budget=-2.0)] == [0, 0]


def test_a_cell_for_all_groups_has_the_best_mean():
    def table(*distances):
        return pd.DataFrame(
            {
                "layer": [0, 0, 1],
                "strength": ["0", "0.1", "0.1"],
                "eta": [0.0, 2.0, 3.0],
                "validation": distances,
                "facts_validation": 1.0,
                "facts_test": 1.0,
            }
        )

    found = chosen_cells({"a": table(0.5, 0.1, 0.3), "b": table(0.5, 0.6, 0.3)}, budget=0.0)
    assert [(one["group"], one["chosen"], one["layer"], one["eta"]) for one in found] == [
        ("a", ALL, 1, 3.0),
        ("a", EACH, 0, 2.0),
        ("b", ALL, 1, 3.0),
        ("b", EACH, 1, 3.0),
    ]
    worse = {"a": table(0.5, 0.6, 0.7), "b": table(0.5, 0.4, 0.3)}
    assert [one["eta"] for one in chosen_cells(worse, budget=0.0)] == [0.0, 0.0, 0.0, 3.0]


def test_the_steps_taken_are_those_of_fine_tuning(steering):
    """Up to what the parameters after the deepest fitted layer do."""
    model, train = steering.model, load_examples("demo/groups/pilot", n=6)
    test = load_examples("demo/groups/pilot", "test", n=3)
    found = FineTune(2, 0.05, OptionDistribution()).fit(model, train)
    assert isinstance(found, DifferenceSteering)
    rows = moved(found, {"pilot": test})
    tuned = fine_tuned(model, encode(model, train), OptionDistribution(), 2, 0.05)
    for place, one in enumerate(encode(model, test)):
        assert one.options is not None
        with torch.no_grad():
            answer = run(tuned, one.prompt)[1][-1][list(one.options)].softmax(-1)
        distance = (answer - torch.tensor(one.distribution)).abs().sum().item() / 2
        assert rows.total_variation[place] == pytest.approx(distance, abs=2e-3)
    assert (rows.total_variation - rows.unsteered_total_variation).abs().max() > 0.01


def test_intervals_over_topics_do_not_shrink_with_repeated_questions():
    generator = np.random.default_rng(0)
    distances = generator.uniform(0, 1, 3).repeat(9)
    topics = np.array(["wars", "cities", "sugar"]).repeat(9)
    rows = pd.DataFrame(
        {
            "method": "m",
            "chosen": ALL,
            "towards": "poet",
            "measured": "poet",
            "question": range(27),
            "cluster_1": topics,
            "total_variation": distances,
            "unsteered_total_variation": 0.5,
        }
    )
    questions = with_changes(rows)
    assert overall(questions).clusters.tolist() == [3]
    for found in (overall(questions), by_group(questions)):
        assert found.steered_low[0] == pytest.approx(distances.min())
        assert found.steered_high[0] == pytest.approx(distances.max())
