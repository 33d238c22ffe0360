"""The choice under a budget and the ranks, on tables whose answer is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from coldlens.errors import ArgumentError
from coldlens.sweep.choices import Choices
from coldlens.sweep.choose import (
    OBJECTIVES,
    average_ranks,
    check_budget,
    choose_cells,
    objective,
)

NAMES = ["behaviour", "setting", "method", "size", "seed", "split", "layer", "relative"]


def table_of(rows, column="probability"):
    """Builds a table from method, split, layer, relative, score, and accuracy for capability."""
    found = []
    for method, layer, relative, score, kept in rows:
        setting = "none" if method == "base" else "paired"
        key = ("wit", setting, method, 0 if method == "base" else 9, 0)
        place = (layer, relative, 10 * relative)
        found.append((*key, "validation", *place, score, np.nan, 20, ""))
        found.append((*key, "capability_validation", *place, np.nan, kept, 20, ""))
    names = [*NAMES, "eta", column, "correct", "questions", "note"]
    return pd.DataFrame(found, columns=names).astype({"layer": "Int64"})


ROWS = [
    ("base", pd.NA, 0.0, 0.40, 0.90),
    ("bold", 0, 0.5, 0.55, 0.90),
    ("bold", 1, 0.5, 0.70, 0.85),  # loses exactly the budget
    ("bold", 1, 2.0, 0.95, 0.60),
    ("rash", 0, 0.5, 0.99, 0.10),
    ("tied", 1, 2.0, 0.60, 0.90),
    ("tied", 1, 0.5, 0.60, 0.90),
    ("tied", 0, 0.5, 0.60, 0.90),
    ("worse", 0, 0.5, 0.30, 0.95),
    ("dead", 0, 0.5, np.nan, np.nan),
]
BY = {"wit": "probability"}


def chosen(rows=ROWS, budget=0.05):
    found = choose_cells(table_of(rows), BY, budget)
    return found.set_index(["method", "guarded"])


def test_the_best_cell_within_the_budget_is_chosen_beside_the_best_of_all():
    found = chosen()
    guarded, free = found.loc["bold", True], found.loc["bold", False]
    assert (guarded.layer, guarded.relative, guarded.eta, guarded.validation) == (1, 0.5, 5, 0.7)
    assert (free.layer, free.relative, free.validation) == (1, 2.0, 0.95)
    assert chosen(budget=0.04).loc["bold", True].layer == 0
    assert chosen(budget=0.5).loc["bold", True].validation == 0.95


def test_without_a_cell_within_the_budget_the_model_stays_unsteered():
    row = chosen().loc["rash", True]
    assert row.note == "left unsteered: no cell is within the budget"
    assert pd.isna(row.layer)
    assert (row.eta, row.validation) == (0, 0.4)
    assert chosen().loc["rash", False].validation == 0.99


def test_a_tie_goes_to_the_smaller_step_and_then_to_the_lower_layer():
    row = chosen().loc["tied", True]
    assert (row.layer, row.relative) == (0, 0.5)


def test_a_method_that_only_harms_is_still_reported_as_it_is():
    assert chosen().loc["worse", True].validation == 0.3


def test_a_method_without_any_measurement_leaves_the_model_unsteered():
    assert chosen().loc["dead", False].note.startswith("left unsteered")


def test_without_capability_questions_all_cells_count():
    table = table_of(ROWS)
    table = table[table.split == "validation"]
    found = choose_cells(table, BY, 0.05).set_index(["method", "guarded"])
    assert found.loc["rash", True].validation == 0.99


def test_less_is_better_where_it_is_a_distance():
    rows = [("base", pd.NA, 0.0, 0.5, 1.0), ("a", 0, 1.0, 0.3, 1.0), ("a", 1, 1.0, 0.2, 1.0)]
    found = choose_cells(table_of(rows, "total_variation"), {"wit": "total_variation"}, 0.05)
    assert found.set_index(["method", "guarded"]).loc["a", True].layer == 1


def test_the_default_is_the_first_that_was_measured():
    assert objective(table_of(ROWS), None) == BY
    assert objective(table_of(ROWS, "margin"), None) == {"wit": "margin"}
    with pytest.raises(ArgumentError, match=r"found by = 'margin'"):
        objective(table_of(ROWS), "margin")
    assert set(OBJECTIVES.values()) == {1, -1}


def test_ranks_of_a_known_table():
    values = pd.DataFrame(
        {"one": [0.9, 0.5, 0.5, 0.1], "two": [0.2, 0.1, 0.4, 0.3]}, index=list("abcd")
    )
    ranks = average_ranks(values, {"one": "probability", "two": "nll"})
    assert ranks.to_dict() == {"a": 1.5, "b": 1.75, "c": 3.25, "d": 3.5}
    nearly = values.assign(one=[0.9, 0.5, 0.5 + 1e-9, 0.1])
    assert average_ranks(nearly, {"one": "probability", "two": "nll"}).equals(ranks)


@pytest.fixture
def choices():
    """Two behaviours, two methods, two seeds, two sizes; the answers are known."""
    rows, answers = [], {}
    for behaviour, shift in (("wit", 0.0), ("tact", 0.2)):
        cases = [("none", "base", 0, 0, 0.1)]
        for size in (5, 10):
            for seed in (0, 1):
                cases.append(("paired", "good", size, seed, 0.02 * size + 0.1 * seed))
                cases.append(("paired", "poor", size, seed, 0.05))
        for setting, method, size, seed, score in cases:
            place = len(rows)
            answers[place] = np.array([score, score + shift])
            rows.append((behaviour, setting, method, size, seed, score + shift / 2, -0.01))
    names = [*NAMES[:5], "test", "capability_change"]
    by = {"wit": "probability", "tact": "probability"}
    return Choices(pd.DataFrame(rows, columns=names), answers, by, {})


def test_scores_average_over_seeds_with_their_range(choices):
    scores = choices.scores().set_index(["behaviour", "method", "size"])
    row = scores.loc["wit", "good", 10]
    assert row.test == pytest.approx(0.25)
    assert (row.lowest, row.highest, row.seeds) == pytest.approx((0.2, 0.3, 2))
    assert (row.low, row.high) == pytest.approx((0.25, 0.25))
    row = scores.loc["tact", "good", 10]
    assert (row.low, row.high) == pytest.approx((0.25, 0.45))


def test_the_main_table_has_means_ranks_and_the_unsteered_model(choices):
    table = choices.main_table(10, None)
    assert list(table.index) == [("paired", "good"), ("none", "base"), ("paired", "poor")]
    assert list(table)[:2] == ["wit", "tact"]
    row = table.loc["paired", "good"]
    assert (row.wit, row.tact, row["mean"], row.average_rank) == pytest.approx((0.25, 0.35, 0.3, 1))
    assert row.low < 0.3 < row.high
    assert row.low >= 0.25
    assert list(choices.main_table(5, "paired").index) == list(table.index)


def test_sample_efficiency_averages_over_behaviours(choices):
    curve = choices.sample_efficiency().set_index(["method", "size"])
    found = curve.loc[("good", 5), ["mean", "lowest", "highest"]]
    assert found.tolist() == pytest.approx([0.2, 0.15, 0.25])


def test_intervals_draw_whole_clusters(choices):
    same = replace(choices, clusters={"tact": [("a",), ("a",)]})
    apart = replace(choices, clusters={"tact": [("a",), ("b",)]})
    ends = [
        one.scores().set_index(["behaviour", "method", "size"]).loc[("tact", "good", 10)]
        for one in (choices, same, apart)
    ]
    assert (ends[0].low, ends[0].high) == pytest.approx((0.25, 0.45))
    assert np.isnan([ends[1].low, ends[1].high]).all()  # one label says nothing about others
    assert (ends[2].low, ends[2].high) == pytest.approx((0.25, 0.45))
    best = [one.main_table(10, None).loc[("paired", "good")] for one in (choices, same)]
    assert best[0].low < best[0].high
    assert np.isnan([best[1].low, best[1].high]).all()


def test_differences_are_taken_question_by_question(choices):
    found = choices.differences(("paired", "poor"), 10, None)
    assert set(found.index) == {("none", "base"), ("paired", "good")}
    row = found.loc[("paired", "good")]
    # Each question gains 0.2, so that no resample says anything else.
    assert tuple(row) == pytest.approx((0.2, 0.2, 0.2))
    assert choices.differences(("none", "base"), 10, None).loc[("paired", "good")]["mean"] > 0.1


def test_a_method_that_one_behaviour_lacks_has_no_mean_and_no_rank(choices):
    lacking = (choices.table.behaviour == "wit") & (choices.table.method == "poor")
    table = replace(choices, table=choices.table[~lacking]).main_table(10, None)
    assert list(table.index)[-1] == ("paired", "poor")
    row = table.loc[("paired", "poor")]
    assert row[["wit", "mean", "low", "high", "average_rank"]].isna().all()
    assert row.tact == pytest.approx(0.15)
    assert table.loc[("paired", "good"), ["mean", "average_rank"]].notna().all()


def test_different_measurements_have_ranks_but_no_mean(choices):
    mixed = replace(choices, by={"wit": "probability", "tact": "nll"})
    table = mixed.main_table(10, None)
    assert table[["mean", "low", "high"]].isna().all(axis=None)
    assert table.average_rank.notna().all()
    with pytest.raises(ArgumentError, match=r"found probability of wit, nll of tact\. Sweep them"):
        mixed.sample_efficiency()


@pytest.mark.parametrize("budget", [-0.1, 1.5, float("nan"), "5%", None, True])
def test_a_budget_is_a_share(budget):
    with pytest.raises(ArgumentError, match="between 0 and 1, the accuracy that may be lost"):
        check_budget(budget)
    check_budget(0)
