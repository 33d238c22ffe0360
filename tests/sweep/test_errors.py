"""Bad input is named before any work starts."""

import pytest
from sweep.conftest import SPLITS, UNRELATED, questions, run

from coldlens.errors import ArgumentError, ColdlensError, DataError, ExampleError, ModelError
from coldlens.evaluation.metrics import METRICS
from coldlens.examples.example import Example, ExampleSet
from coldlens.losses import DPO
from coldlens.sweep import InContext, Splits, demo_facts, load_splits

POSITIVE = ExampleSet(tuple(Example(f"the {word}", " A") for word in ("cat", "dog", "red")))
LONG = questions("long", 0, 3, " yes please", " no")

BAD = {
    "size": (dict(sizes=(13,)), ExampleError, "at most 12 examples, all that 'first' has"),
    "no size": (dict(sizes=()), ArgumentError, "at least one value in sizes"),
    "zero": (dict(sizes=(0,)), ArgumentError, "found sizes = 0"),
    "same seed": (dict(seeds=(1, 1)), ArgumentError, "seeds, and each once; found [1, 1]"),
    "eta": (dict(etas=(0.1, -1)), ArgumentError, "found etas = -1"),
    "layer": (dict(layers=(3,)), ArgumentError, "found layer 3"),
    "position": (dict(positions="answer"), ExampleError, "found 'answer'"),
    "generated": (
        dict(positions="generated", metrics=["choice"], capability=None),
        ExampleError,
        "found 'generated', with answers of one token: it is read before it is generated. Use",
    ),
    "first generated": (
        dict(positions="first_generated"), ExampleError, "found 'first_generated', with answers"
    ),
    "method": (dict(methods=["CAA"]), ArgumentError, "found 'CAA'"),
    "no method": (dict(methods=[]), ArgumentError, "one method, and each once; found none"),
    "twice": (dict(methods=["DiffMean", "DiffMean"]), ArgumentError, "found DiffMean twice"),
    "contexts": (dict(methods=["InContext", InContext()]), ArgumentError, "found InContext twice"),
    "no loss": (dict(losses={}), ArgumentError, "at least one; found {}"),
    "metric": (dict(metrics=["accuracy"]), ArgumentError, "found 'accuracy'"),
    "batch": (dict(batch_size=0), ArgumentError, "found batch_size = 0"),
    "capability": (dict(capability=UNRELATED[:1]), ArgumentError, "two capability questions"),
    "several tokens": (dict(capability=LONG), ExampleError, "answers of one token each"),
    "no behaviour": (dict(splits={}), ArgumentError, "at least one behaviour"),
    "name": (dict(splits=["demo/kindness"]), DataError, "found 'demo/kindness'"),
    "unpaired": (
        dict(splits={"only": Splits(POSITIVE, *[SPLITS["first"].test] * 2)}, sizes=(2,),
             losses={"paired": DPO()}),
        ExampleError,
        "negative",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input(folder, tmp_path, case):
    changes, kind, text = BAD[case]
    with pytest.raises(ColdlensError) as caught:
        run(folder, folder=tmp_path / "out", **changes)
    assert isinstance(caught.value, kind)
    assert text in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_not_there(tmp_path):
    with pytest.raises(ModelError, match="no folder"):
        run(tmp_path / "nowhere")


def test_k_must_be_positive():
    with pytest.raises(ArgumentError, match="found k = 0"):
        InContext(0)


def test_unknown_choices_are_named(whole):
    for call, text in (
        (lambda: whole.main_table(size=7), "a size among [6]; found 7"),
        (lambda: whole.main_table(setting="pairs"), "found 'pairs'"),
        (lambda: whole.grid("CAA"), "found 'CAA'"),
        (lambda: whole.grid("ColdFD", "tst"), "a split among"),
        (lambda: whole.grid("ColdFD", setting="pairs"), "a setting among ['paired', 'positive-"),
        (lambda: whole.differences(("paired", "CAA")), "found ('paired', 'CAA')"),
        (lambda: whole.choices(budget=float("nan")), "found budget = nan"),
        (lambda: whole.main_table(by="accuracy"), "found by = 'accuracy'"),
        (lambda: whole.choices(by="margin"), "by among ['probability', 'correct'"),
    ):
        with pytest.raises(ArgumentError) as caught:
            call()
        assert text in str(caught.value)


def test_methods_that_need_negatives_are_left_out_where_there_are_none(folder, caplog):
    splits = {"only": Splits(POSITIVE, *[SPLITS["first"].test] * 2)}
    result = run(
        folder,
        splits,
        sizes=(2,),
        seeds=(0,),
        losses=None,
        methods=["DiffMean", "ColdKernel"],
    )
    assert set(result.table.method) == {"base", "ColdKernel"}
    assert "left out DiffMean, which needs negatives" in caplog.text


def test_the_splits_of_a_data_set_share_no_question():
    splits = load_splits("demo/refusal", validation=30, test=50)
    assert [len(splits.train), len(splits.validation), len(splits.test)] == [576, 30, 50]
    prompts = [
        {one.prompt for one in part} for part in (splits.train, splits.validation, splits.test)
    ]
    assert not prompts[0] & prompts[1]
    assert not prompts[0] & prompts[2]
    assert not prompts[1] & prompts[2]


def test_facts_of_the_demo_world_are_from_two_splits():
    facts = demo_facts(20)
    assert len(facts) == 20
    assert len({one.prompt for one in facts}) == 20
    assert all({one.positive, one.negative} <= set("AB") for one in facts)
    assert METRICS["choice"]


def test_examples_in_two_splits_are_named(bridge, caplog):
    first = SPLITS["first"]
    assert first.shared() == []
    leaky = Splits(first.train, first.test, first.train[:3])
    assert leaky.shared() == ["3 examples of test also in train"]
    run(bridge, {"leaky": leaky}, methods=["DiffMean"], seeds=(0,), losses=None)
    assert "leaky: 3 examples of test also in train" in caplog.text
