"""Tables that are read from sweeps: what they are made of, and a small run of each."""

import numpy as np
import pandas as pd
import pytest

from analyses.behaviours import Behaviours
from analyses.effect_and_side_effect import EffectAndSideEffect, chosen_layers, frontier
from analyses.fine_grid import beside_unsteered, over_questions
from analyses.layer_eta import LayerEta, grid
from analyses.sample_efficiency import SampleEfficiency
from analyses.specificity import SpecificityOfSteering, by_pair, overall
from coldlens.datasets import load_examples
from coldlens.directions import ColdFD
from coldlens.errors import DataError
from coldlens.evaluation import evaluate
from coldlens.evaluation.bootstrap import interval, interval_of_mean
from coldlens.evaluation.clusters import clusters_of
from coldlens.models.load import load_model
from coldlens.sweep import PRESETS, SweepResult, demo_facts, load_splits

SMALL = {
    "behaviours": ("refusal", "sycophancy"),
    "methods": ("DiffMean", "ColdFD", "Random"),
    "etas": (0.1, 1.0),
    "sizes": (3, 5),
    "seeds": (0, 1),
    "validation": 4,
    "test": 6,
    "facts": 8,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sweeps")


@pytest.fixture(scope="module")
def curve(folder):
    return SampleEfficiency(folder / "tables", sweep=folder / "curve", **SMALL)


@pytest.fixture(scope="module")
def curve_tables(curve):
    return curve.run()


@pytest.fixture(scope="module")
def fine(folder):
    return {"sweep": folder / "fine", **SMALL, "behaviours": ("refusal",), "sizes": (5,)}


@pytest.fixture(scope="module")
def grid_tables(fine, folder):
    return LayerEta(folder / "tables", **fine).run()


def test_the_main_table_and_the_curve_ask_for_the_named_sweeps():
    paper, curve = Behaviours(), SampleEfficiency()
    for analysis, preset in ((paper, "paper"), (curve, "curve")):
        asked = PRESETS[preset]
        assert (analysis.methods, analysis.sizes, analysis.seeds, analysis.losses) == (
            *(asked[name] for name in ("methods", "sizes", "seeds")),
            asked.get("losses"),
        )


@pytest.mark.slow
def test_the_main_table_is_that_of_the_sweep(folder):
    settings = {**SMALL, "sizes": (5,), "methods": ("DiffMean", "ColdKernel")}
    tables = Behaviours(folder / "tables", sweep=folder / "paper", **settings).run()
    result = SweepResult.load(folder / "paper")
    main = tables["main"].set_index(["setting", "method"])
    pd.testing.assert_frame_equal(main, result.main_table(), check_dtype=False)
    assert set(main.index) == {
        *(("paired", "DiffMean"), ("paired", "ColdKernel")),
        *(("positive-only", "ColdKernel"), ("none", "base")),
    }
    accuracy = tables["accuracy"].set_index(["setting", "method"])
    pd.testing.assert_frame_equal(accuracy, result.main_table(by="correct"), check_dtype=False)
    assert set(tables["differences"].to) == {"base"}
    gain = tables["differences"].set_index(["setting", "method"])["mean"]
    expected = accuracy["mean"] - accuracy.loc[("none", "base"), "mean"]
    assert gain.to_dict() == pytest.approx(expected.drop(("none", "base")).to_dict())
    assert len(tables["choices"]) == 2 * (2 * 3 + 1)
    means = tables["scores"].groupby(["setting", "method"]).test.mean()
    for key, row in main.iterrows():
        assert row["mean"] == pytest.approx(means[key])


@pytest.mark.slow
def test_the_curve_has_the_intervals_of_each_size(curve_tables, folder):
    result = SweepResult.load(folder / "curve")
    table = curve_tables["curve"]
    assert sorted(zip(table.method, table["size"], strict=True)) == sorted(
        [("base", 0)] + [(name, size) for name in SMALL["methods"] for size in (3, 5)]
    )
    for row in table[table.method != "base"].itertuples():
        main = result.main_table(row.size).loc[(row.setting, row.method)]
        assert (row.mean, row.low, row.high) == pytest.approx((main["mean"], main.low, main.high))
    assert (table.lowest <= table["mean"] + 1e-12).all()


@pytest.mark.slow
def test_a_finished_sweep_is_only_read_and_another_one_is_refused(curve, curve_tables, folder):
    def times():
        return {path: path.stat().st_mtime_ns for path in (folder / "curve").rglob("*")}

    before = times()
    again = SampleEfficiency(folder / "again", sweep=folder / "curve", jobs=1, **SMALL).run()
    assert times() == before
    for name, table in curve_tables.items():
        pd.testing.assert_frame_equal(again[name], table)
    other = {**SMALL, "etas": (0.2,)}
    with pytest.raises(DataError, match="etas = "):
        SampleEfficiency(folder / "again", sweep=folder / "curve", **other).run()


@pytest.mark.slow
def test_effects_are_those_of_a_direct_evaluation(grid_tables, fine, folder):
    model, splits = load_model("demo"), load_splits("demo/refusal", validation=4, test=6)
    facts = demo_facts(8)
    cells = SweepResult.load(folder / "fine").table
    for seed in (0, 1):
        steering = ColdFD().fit(model, splits.drawn(5, seed))
        chosen = cells.query("method == 'ColdFD' and seed == @seed and layer == 1")
        (eta,) = set(chosen.eta[chosen.relative == 1.0])
        found = evaluate(model, splits.validation, steering, 1, eta).table
        fact = evaluate(model, facts[:4], steering, 1, eta).table
        changes = [
            (found.probability - found.unsteered_probability).mean(),
            (fact.correct - fact.unsteered_correct).mean(),
        ]
        total = changes if seed == 0 else np.mean([total, changes], axis=0)
    row = grid_tables["grid"].query("method == 'ColdFD' and layer == 1 and relative == 1").iloc[0]
    assert (row.effect, row.accuracy_change) == pytest.approx(tuple(total), abs=1e-5)


@pytest.mark.slow
def test_rows_of_a_sweep_have_the_clusters_of_their_questions(grid_tables, fine, folder):
    rows = LayerEta(folder / "tables", **fine).measured(SweepResult.load(folder / "fine"))
    splits, facts = load_splits("demo/refusal", validation=4, test=6), demo_facts(8)
    asked = {"validation": splits.validation, "test": splits.test}
    asked |= {"capability_validation": facts[:4], "capability_test": facts[4:]}
    assert len(rows) == len(beside_unsteered(SweepResult.load(folder / "fine")))
    for split, questions in asked.items():
        of_split = rows[rows.split == split]
        assert clusters_of(of_split) == [questions.clusters[place] for place in of_split.question]
    cell = rows.query("split == 'validation' and method == 'ColdFD' and layer == 1")
    effects = cell[cell.relative == 1].groupby("question").effect.mean()
    ends = interval(effects.to_numpy(dtype=float), splits.validation.clusters)
    row = grid_tables["grid"].query("method == 'ColdFD' and layer == 1 and relative == 1").iloc[0]
    assert (row.effect_low, row.effect_high) == pytest.approx(ends, abs=1e-6)


@pytest.mark.slow
def test_two_analyses_share_one_sweep(grid_tables, fine, folder):
    before = {path: path.stat().st_mtime_ns for path in (folder / "fine").rglob("*")}
    table = EffectAndSideEffect(folder / "tables", **fine).run()["frontier"]
    assert {path: path.stat().st_mtime_ns for path in (folder / "fine").rglob("*")} == before
    assert len(table) == 3 * 2
    rows = beside_unsteered(SweepResult.load(folder / "fine"))
    for row in table.itertuples():
        layers = dict(zip((0, 1), map(int, row.layers.split()), strict=True))
        test = rows[
            (rows.method == row.method) & (rows.relative == row.relative) & (rows.split == "test")
        ]
        kept = test[test.layer == test.seed.map(layers)]
        assert len(kept) == 12
        assert row.effect == pytest.approx(kept.effect.mean(), abs=1e-6)


@pytest.mark.slow
def test_steering_measured_on_its_own_behaviour_is_the_choice_of_the_sweep(folder):
    settings = {**SMALL, "sizes": (5,), "seeds": (0,), "methods": ("ColdFD", "DiffMean")}
    tables = SpecificityOfSteering(folder / "tables", sweep=folder / "specific", **settings).run()
    pairs = tables["pairs"].set_index(["method", "steered", "measured"])
    assert len(pairs) == 3 * 2 * 3
    for row in tables["choices"].itertuples():
        own = pairs.loc[(row.method, row.behaviour, row.behaviour)]
        assert own.change == pytest.approx(row.change, abs=1e-5)
    asked = load_examples("demo/refusal", "test").sample(6, 0)
    plain = evaluate(load_model("demo"), asked).table.probability.mean()
    assert np.allclose(pairs.xs("refusal", level="measured").unsteered, plain, atol=1e-6)
    told = tables["overall"].set_index("method").loc["told the persona"]
    assert told.own > 0.2 > told.others_size


def rows_of(cells):
    """Returns two questions a cell: method, seed, layer, relative, split, effect."""
    names = ["method", "seed", "layer", "relative", "split", "effect"]
    table = pd.DataFrame(cells, columns=names).assign(behaviour="b", kl=1.0, accuracy_change=-0.04)
    both = [table.assign(question=place, effect=table.effect + place) for place in (0, 1)]
    return pd.concat(both, ignore_index=True)


def test_the_frontier_follows_the_chosen_layer_of_each_seed():
    cells = [
        ("m", seed, layer, 1.0, split, 10.0 * seed + layer)
        for seed in (0, 1)
        for layer in (2, 3)
        for split in ("test", "validation", "capability_test", "capability_validation")
    ]
    layers = pd.DataFrame({"behaviour": "b", "method": "m", "seed": [0, 1], "layer": [3, 2]})
    (row,) = frontier(rows_of(cells), layers).to_dict("records")
    assert row["layers"] == "3 2"
    assert row["effect"] == pytest.approx((3 + 12) / 2 + 0.5)
    assert (row["effect_low"], row["effect_high"]) == pytest.approx((7.5, 8.5))
    assert (row["validation_effect"], row["validation_kl"]) == pytest.approx((8.0, 1.0))


def test_layers_are_those_within_the_budget_where_there_are_any():
    choices = pd.DataFrame(
        [
            ("b", "m", 0, False, 3),
            ("b", "m", 0, True, 1),
            ("b", "n", 0, False, 2),
            ("b", "n", 0, True, pd.NA),
            ("b", "base", 0, True, pd.NA),
        ],
        columns=["behaviour", "method", "seed", "guarded", "layer"],
    )
    found = chosen_layers(choices).set_index("method").layer.to_dict()
    assert found == {"m": 1, "n": 2}


@pytest.mark.parametrize(("budget", "within"), [(0.05, True), (0.04, True), (0.03, False)])
def test_cells_beyond_the_budget_are_marked(budget, within):
    cells = [("m", 0, 0, 1.0, split, 0.5) for split in ("validation", "capability_validation")]
    (row,) = grid(rows_of(cells), budget).to_dict("records")
    assert row["within"] is within
    assert row["effect"] == pytest.approx(1.0)


def test_intervals_over_questions_are_over_their_clusters():
    values, labels = np.array([0.1, 0.2, 0.9, 0.8]), [("a",), ("a",), ("b",), ("b",)]
    rows = pd.DataFrame(
        [
            {"method": "m", "seed": seed, "question": place, "effect": value + seed}
            for place, value in enumerate(values)
            for seed in (0, 1)
        ]
    )
    plain = over_questions(rows, ["method"], "effect").iloc[0]
    clustered = rows.assign(cluster_1=[name for (name,) in labels for _ in (0, 1)])
    found = over_questions(clustered, ["method"], "effect").iloc[0]
    assert tuple(plain) == pytest.approx((1.0, *interval(values + 0.5)))
    assert tuple(found) == pytest.approx((1.0, *interval(values + 0.5, labels)))
    assert (found.effect_low, found.effect_high) == pytest.approx((0.65, 1.35))


def test_sets_of_questions_have_clusters_of_their_own():
    generator = np.random.default_rng(0)
    labels = {
        "a": [("x", "u"), ("x", "v"), ("y", "u"), ("y", "v")],
        "facts": [("1",), ("1",), ("2",)],
    }
    change = {name: generator.normal(size=(2, len(found))) for name, found in labels.items()}
    questions = pd.DataFrame(
        [
            {"method": "m", "steered": steered, "measured": measured, "question": place}
            | {"probability": 0.5, "unsteered": 0.5, "change": change[measured][steering][place]}
            | {f"cluster_{factor + 1}": label for factor, label in enumerate(of)}
            for measured, found in labels.items()
            for steering, steered in enumerate("ab")
            for place, of in enumerate(found)
        ]
    )
    pairs = by_pair(questions).set_index(["steered", "measured"])
    for measured, of in labels.items():
        row = pairs.loc[("b", measured)]
        assert (row.low, row.high) == interval(change[measured][1], of)
    (row,) = overall(questions).to_dict("records")
    assert (row["own_low"], row["own_high"]) == interval(change["a"][0], labels["a"])
    ends = interval_of_mean([change["facts"].mean(0)], [labels["facts"]])
    assert (row["facts_low"], row["facts_high"]) == pytest.approx(ends)


def test_means_over_behaviours_tell_the_behaviour_from_the_others():
    change = {("a", "a"): 0.4, ("b", "b"): 0.2, ("a", "b"): 0.1, ("b", "a"): -0.3}
    change |= {("a", "facts"): -0.1, ("b", "facts"): 0.0}
    questions = pd.DataFrame(
        [
            {"method": "m", "steered": steered, "measured": measured, "question": place}
            | {"change": value + spread}
            for (steered, measured), value in change.items()
            for place, spread in enumerate((-0.05, 0.05))
        ]
    )
    (row,) = overall(questions).to_dict("records")
    assert row["own"] == pytest.approx(0.3)
    assert row["others"] == pytest.approx(-0.1)
    assert row["others_size"] == pytest.approx(0.2)
    assert row["facts"] == pytest.approx(-0.05)
    # Facts are one set of two questions, whatever was steered to.
    assert (row["facts_low"], row["facts_high"]) == pytest.approx((-0.1, 0.0))
