"""A sweep gives what fitting and evaluating cell by cell gives."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from sweep.conftest import LOSSES, SPLITS, UNRELATED, run

from coldlens.capture import Needs, collect
from coldlens.directions import BiPO, ColdFD, ColdKernel, DiffMean, FineTune, Random, ReFTMLP
from coldlens.errors import ArgumentError, ExampleError, NumericsError
from coldlens.evaluation import evaluate
from coldlens.examples.in_context import in_context
from coldlens.losses import DPO, OptionDistribution
from coldlens.sweep import InContext, Splits
from coldlens.sweep.methods import seeded, settings_of

EXACT = 1e-9
COLUMNS = ["correct", "p_positive", "p_negative", "probability", "logit_difference", "kl"]
CELL_BY_CELL = (
    DiffMean(),
    ColdKernel(positions="all"),
    ColdKernel(kernel="linear", positions="all"),
    ColdFD(epsilon=1e-3),
    FineTune(steps=2, lr=0.01),
    ReFTMLP(epochs=1),
    BiPO(epochs=1),
)


def cell(rows, **where):
    for name, value in where.items():
        rows = rows[rows[name] == value]
    return rows.sort_values("question")


@pytest.fixture(scope="module")
def swept(bridge):
    return run(bridge, methods=CELL_BY_CELL, seeds=(3,)).questions


@pytest.mark.parametrize("method", CELL_BY_CELL, ids=lambda method: method.label)
@pytest.mark.parametrize("setting", LOSSES)
def test_equals_fit_and_evaluate(bridge, swept, method, setting):
    rows = cell(swept, behaviour="first", setting=setting, method=method.label)
    if setting == "positive-only" and method.label in {"DiffMean", "BiPO(epochs=1)"}:
        assert rows.empty  # they depend on no loss, and run once
        return
    train, etas = SPLITS["first"].train.sample(6, 3), (0.5, 2.0)
    measured = {
        "validation": SPLITS["first"].validation,
        "test": SPLITS["first"].test,
        "capability_validation": UNRELATED[:3],
        "capability_test": UNRELATED[3:],
    }
    streams = collect(
        bridge, train, (0, 2), Needs(activations=frozenset({("positive", "last_prompt")}))
    ).activations["positive", "last_prompt"]
    for place, layer in enumerate((0, 2)):
        steering = method.with_loss(LOSSES[setting]).fit(bridge, train, layer)
        length = steering.readings()[0].norm(dim=-1).mean()
        size = streams[place].norm(dim=-1).mean()
        for relative in etas:
            eta = (relative * size / length).item()
            for split, asked in measured.items():
                found = cell(rows, layer=layer, relative=relative, split=split)
                assert found.eta.to_numpy() == pytest.approx(eta, rel=1e-6)
                one = evaluate(bridge, asked, steering, layer, found.eta.iloc[0]).table
                for name in COLUMNS:
                    gap = np.abs(found[name].to_numpy() - one[name].to_numpy()).max()
                    assert gap <= 1e-6, (layer, relative, split, name, gap)


def test_the_unsteered_model_has_a_row_of_its_own(bridge, swept):
    for behaviour, splits in SPLITS.items():
        found = cell(swept, behaviour=behaviour, method="base", split="test")
        table = evaluate(bridge, splits.test).table
        assert found.probability.to_numpy() == pytest.approx(table.probability, abs=EXACT)
        assert (found.eta == 0).all()
        assert found.layer.isna().all()


def test_displacements_have_the_relative_length(bridge):
    rows = run(bridge, methods=["DiffMean", "Random"], seeds=(1,)).questions
    train = SPLITS["second"].train.sample(6, 1)
    streams = collect(
        bridge, train, (0, 2), Needs(activations=frozenset({("positive", "last_prompt")}))
    ).activations["positive", "last_prompt"]
    steering = DiffMean().fit(bridge, train)
    for place, layer in enumerate((0, 2)):
        found = cell(rows, behaviour="second", method="DiffMean", layer=layer, relative=2)
        added = found.eta.iloc[0] * steering.vector(layer).norm()
        assert added == pytest.approx(2 * streams[place].norm(dim=-1).mean().item(), rel=1e-9)


def test_random_takes_no_more_than_its_length_from_the_loss(bridge):
    relative = run(bridge, methods=["Random"], seeds=(0,)).questions
    assert set(relative.setting) == {"none", "paired"}
    raw = run(bridge, methods=["Random"], seeds=(0,), scale="raw").questions
    assert set(raw.setting) == {"none", *LOSSES}


def test_every_method_given_by_name_is_drawn_anew_for_each_seed(bridge):
    names = ["Random", "ReFTVector", "ReFTMLP", "BiPO", "LoRA"]
    named = settings_of(names, LOSSES, SPLITS["first"].train, "relative")["positive-only"]
    both = {**named, **settings_of(names, LOSSES, SPLITS["first"].train, "relative")["paired"]}
    assert list(both) == ["ReFTVector", "ReFTMLP", "LoRA", "Random", "BiPO"]
    assert [one.seed for one in seeded(both, 7, names).values()] == [7] * 5
    assert [one.seed for one in seeded(both, 7, names[:1]).values()] == [0, 0, 0, 7, 0]
    # The same examples, so that nothing else differs.
    whole = {"sizes": (12,), "losses": None, "layers": 0, "etas": (2,)}
    rows = run(bridge, methods=["Random", "DiffMean"], **whole).questions
    drawn = [cell(rows, method="Random", seed=seed, split="test").probability for seed in (0, 1)]
    fixed = [cell(rows, method="DiffMean", seed=seed, split="test").probability for seed in (0, 1)]
    assert np.abs(drawn[0].to_numpy() - drawn[1].to_numpy()).max() > 1e-4
    assert np.abs(fixed[0].to_numpy() - fixed[1].to_numpy()).max() < EXACT
    given = run(bridge, methods=[Random(seed=1)], **whole).questions
    kept = [cell(given, seed=seed, layer=0, split="test").probability for seed in (0, 1)]
    for one in kept:
        assert np.abs(one.to_numpy() - drawn[1].to_numpy()).max() < EXACT


def test_the_raw_scale_is_the_papers(bridge):
    result = run(bridge, methods=[ColdFD(epsilon=1e-3)], seeds=(0,), scale="raw")
    rows = cell(result.questions, behaviour="first", setting="paired", layer=2, split="test")
    steering = ColdFD(loss=DPO(), epsilon=1e-3).fit(bridge, SPLITS["first"].train.sample(6, 0))
    for eta in (0.5, 2.0):
        table = evaluate(bridge, SPLITS["first"].test, steering, 2, eta).table
        found = cell(rows, eta=eta)
        assert found.probability.to_numpy() == pytest.approx(table.probability, abs=EXACT)
        length = steering.readings()[2].norm(dim=-1).mean().item()
        expected = eta * length / _stream(bridge)
        assert found.relative.to_numpy() == pytest.approx(expected, rel=1e-9)


def _stream(bridge):
    train = SPLITS["first"].train.sample(6, 0)
    needs = Needs(activations=frozenset({("positive", "last_prompt")}))
    found = collect(bridge, train, (2,), needs).activations["positive", "last_prompt"]
    return found.norm(dim=-1).mean().item()


@pytest.mark.parametrize("k", [2, 8])
def test_in_context_puts_as_many_demonstrations_as_fit(bridge, k):
    method = InContext(k)
    rows = run(bridge, methods=[method], sizes=(12,), seeds=(2,)).questions
    found = cell(rows, behaviour="first", method=method.label, split="test")
    train, test = SPLITS["first"].train.sample(12, 2), SPLITS["first"].test
    used = max(n for n in range(1, min(k, 12) + 1) if fits(bridge, train, test, n))
    assert used == 2 or 2 < used < 8  # the context of 64 tokens is full before k = 8
    prompted = in_context(bridge, train, test, used)
    table = evaluate(bridge, prompted, metrics=["choice"]).table
    assert found.probability.to_numpy() == pytest.approx(table.probability, abs=EXACT)
    plain = evaluate(bridge, test, metrics=["choice"]).table
    assert np.abs(plain.probability - table.probability).max() > 1e-3
    with torch.no_grad():
        logs = [
            [bridge(_ids(bridge, one))[0, -1].log_softmax(-1) for one in asked]
            for asked in (test, prompted)
        ]
    kl = [(old.exp() * (old - new)).sum().item() for old, new in zip(*logs, strict=True)]
    assert found.kl.to_numpy() == pytest.approx(kl, abs=1e-6)


def fits(bridge, train, test, n):
    try:
        return len(in_context(bridge, train, test, n)) == len(test)
    except ExampleError:
        return False


def _ids(bridge, example):
    return torch.tensor([bridge.tokenizer(example.prompt).input_ids])


def test_a_displacement_of_zero_is_a_note_and_not_an_end(bridge):
    result = run(bridge, methods=[ColdKernel(positions="answer"), "DiffMean"], seeds=(0,))
    rows = cell(result.questions, method="ColdKernel(answer)", setting="paired")
    assert (rows.note == "the displacement is zero").all()
    assert rows.probability.isna().all()
    assert len(rows) == 2 * (5 + 7 + 6) * 4
    chosen = result.choices()
    row = chosen[(chosen.method == "ColdKernel(answer)") & chosen.guarded].iloc[0]
    assert row.note == "left unsteered: the displacement is zero"
    assert row.test == pytest.approx(row.unsteered)
    assert str(row.layer) == "<NA>"


@dataclass(frozen=True)
class Broken(DiffMean):
    """A method that meets values that are not finite."""

    def solve(self, model, evidence):
        raise NumericsError(expected="a finite loss", found="nan", fix="Use a smaller step")


@pytest.mark.parametrize("scale", ["relative", "raw"])
def test_a_fit_that_fails_is_a_note_and_not_an_end(bridge, scale):
    result = run(bridge, methods=[Broken(), "ColdKernel"], seeds=(0,), scale=scale)
    rows = cell(result.questions, method="Broken", setting="paired")
    assert rows.note.str.startswith("NumericsError: Expected a finite loss; found nan").all()
    assert set(rows["relative" if scale == "relative" else "eta"]) == {0.5, 2.0}
    assert len(rows) == 2 * (5 + 7 + 6) * 4
    chosen = result.choices()
    assert chosen[chosen.method == "Broken"].change.abs().max() < EXACT
    assert np.isfinite(result.main_table().average_rank).all()


def test_memory_that_does_not_hold_the_streams_changes_no_number(bridge, monkeypatch):
    settings = dict(methods=["ColdFD", "InContext"], seeds=(0,), losses=None)
    first = {"first": SPLITS["first"]}
    kept = run(bridge, first, **settings)
    monkeypatch.setattr("coldlens.sweep.bank.KEPT_BYTES", 0)
    again = run(bridge, first, **settings)
    assert again.table.to_csv() == kept.table.to_csv()


def test_behaviours_may_be_measured_in_different_ways(bridge):
    from evaluation.conftest import LETTERS, TEXTS

    texts = Splits(TEXTS, TEXTS[:2], TEXTS[2:])
    polls = Splits(LETTERS, LETTERS[:2], LETTERS[2:])
    result = run(
        bridge,
        {"texts": texts, "polls": polls},
        methods=["ColdFD", "DiffMean"],
        losses=None,
        sizes=(4,),
        seeds=(0,),
        capability=None,
    )
    chosen = result.choices()
    assert dict(zip(chosen.behaviour, chosen.by, strict=True)) == {
        "texts": "margin",
        "polls": "total_variation",
    }
    best = result.main_table()
    assert best.average_rank.notna().all()
    assert best["mean"].isna().all()  # of a margin and a distance
    for average in (result.sample_efficiency, result.plot, lambda: result.grid("ColdFD")):
        with pytest.raises(ArgumentError, match="found margin of texts, total_variation of polls"):
            average()
    polls_loss = ColdFD(loss=OptionDistribution())
    assert result.about["methods"]["default: ColdFD"] in {repr(polls_loss), repr(ColdFD(DPO()))}


def test_positions_reach_the_cells(bridge):
    rows = run(bridge, methods=["DiffMean"], seeds=(0,), positions="last_prompt").questions
    steering = DiffMean().fit(bridge, SPLITS["first"].train.sample(6, 0))
    found = cell(rows, behaviour="first", method="DiffMean", layer=0, relative=2, split="test")
    table = evaluate(
        bridge, SPLITS["first"].test, steering, 0, found.eta.iloc[0], "last_prompt"
    ).table
    assert found.probability.to_numpy() == pytest.approx(table.probability, abs=EXACT)
