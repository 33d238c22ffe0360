"""`coldlens sweep` as a user types it."""

import json
import re
from dataclasses import replace

import pandas as pd
import pytest
from sweep.conftest import SPLITS, UNRELATED

from coldlens.cli.sweep import Sweep
from coldlens.errors import ArgumentError, DataError
from coldlens.examples.example import Example
from coldlens.sweep import PRESETS, SweepResult


def write(path, examples, split=None):
    rows = [
        {"prompt": one.prompt, "positive": one.positive, "negative": one.negative}
        | ({"split": split} if split else {})
        for one in examples
    ]
    with path.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def command(folder, tmp_path):
    path = tmp_path / "wit.jsonl"
    for split in ("train", "validation", "test"):
        write(path, getattr(SPLITS["first"], split), split)
    write(tmp_path / "other.jsonl", UNRELATED, "test")
    return Sweep(
        model=str(folder),
        examples=(str(path),),
        out=tmp_path / "out",
        methods=("DiffMean", "ColdFD"),
        sizes=(3, 6),
        seeds=(0,),
        etas=(0.5, 2.0),
        capability=str(tmp_path / "other.jsonl"),
    )


def test_it_prints_the_main_table_and_writes_tables_and_figure(command, capsys):
    assert command.run() == 0
    printed = capsys.readouterr().out
    for word in (
        "average_rank",
        "ColdFD",
        "base",
        "wit",
        "5% of capability lost",
        "Probability (h",
    ):
        assert word in printed
    result = SweepResult.load(command.out)
    table = result.main_table()
    assert f"{table.loc[('default', 'ColdFD'), 'wit']:.3f}" in printed
    saved = pd.read_csv(command.out / "main_table.csv", index_col=[0, 1])
    pd.testing.assert_frame_equal(saved, table, check_dtype=False, check_names=False)
    assert len(pd.read_csv(command.out / "choices.csv")) == len(result.choices())
    assert set(pd.read_csv(command.out / "sample_efficiency.csv")["size"]) == {0, 3, 6}
    assert (command.out / "sweep.png").stat().st_size > 10_000
    assert command.run() == 0  # it goes on, with nothing left to do


def test_what_cannot_be_averaged_is_refused_before_the_sweep(command, tmp_path):
    plain = [Example(one.prompt, one.positive) for one in SPLITS["second"].test]
    for split in ("train", "validation", "test"):
        write(tmp_path / "plain.jsonl", plain, split)
    both = replace(command, examples=(*command.examples, str(tmp_path / "plain.jsonl")))
    with pytest.raises(ArgumentError, match="found probability of wit, nll of plain"):
        both.run()
    with pytest.raises(ArgumentError, match="each data set once"):
        replace(command, examples=command.examples * 2).run()
    with pytest.raises(ArgumentError, match="found budget = nan"):
        replace(command, budget=float("nan")).run()
    with pytest.raises(ArgumentError, match="found jobs = 0"):
        replace(command, jobs=0).run()
    assert not command.out.exists()


def test_other_options_in_the_same_folder_are_refused(command, capsys):
    assert command.run() == 0
    with pytest.raises(DataError, match="etas = "):
        replace(command, etas=(0.5,)).run()


@pytest.mark.parametrize("by", ["nonsense", "margin"])
def test_an_unknown_objective_is_refused_before_the_sweep(command, by, monkeypatch):
    def too_late(*_args, **_settings):
        raise AssertionError("the sweep has started")

    monkeypatch.setattr("coldlens.cli.sweep.sweep", too_late)
    known = "by among ['probability', 'correct', 'logit_difference'], which are measured of wit"
    with pytest.raises(ArgumentError, match=re.escape(f"{known}; found by = '{by}'")):
        replace(command, by=by).run()
    with pytest.raises(AssertionError, match="has started"):
        replace(command, by="correct").run()


def test_public_data_sets_are_looked_for_in_the_folder_given(tmp_path):
    with pytest.raises(DataError, match=str(tmp_path)):
        Sweep(examples=("caa/refusal",), data=tmp_path)._splits()
    with pytest.raises(DataError, match=str(tmp_path)):
        Sweep(capability="caa/refusal", data=tmp_path)._unrelated()
    with pytest.raises(ArgumentError, match="where prompts are whole"):
        Sweep(prompt_format="chat")._splits()


def test_the_presets_are_what_they_say():
    assert set(PRESETS["paper"]["losses"]) == {"paired", "positive-only"}
    assert set(PRESETS["paper"]["methods"]) == {
        *("DiffMean", "RepE", "ICV", "Probe", "ReFTVector", "ReFTMLP", "BiPO"),
        *("InContext", "ColdKernel", "ColdFD", "FineTune", "Random"),
    }
    assert PRESETS["paper"]["sizes"] == (50,)
    assert PRESETS["paper"]["seeds"] == (0, 1, 2)
    assert PRESETS["curve"]["sizes"] == (2, 5, 10, 20, 50, 200)


def test_demo_stands_for_its_seven_behaviours():
    splits = Sweep(validation=4, test=6)._splits()
    assert len(splits) == 7
    assert {"sycophancy", "refusal", "hallucination"} <= set(splits)
    assert all(len(found.test) == 6 for found in splits.values())
    two = Sweep(examples=("demo/refusal", "demo/refusal/open"), validation=4, test=6)._splits()
    assert list(two) == ["refusal", "refusal/open"]
