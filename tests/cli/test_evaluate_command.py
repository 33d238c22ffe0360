"""`coldlens evaluate` as a user types it."""

import pandas as pd
import pytest

import coldlens as cl
from coldlens.cli import main


@pytest.fixture
def words(folder, divided, tmp_path):
    out = tmp_path / "out"
    return ["evaluate", "--model", str(folder), "--examples", str(divided), "--out", str(out)]


def test_it_fits_on_train_and_measures_on_test(words, folder, divided, tmp_path, capsys):
    asked = ["--method", "DiffMean", "--layer", "1", "--eta", "3", "--positions", "last_prompt"]
    assert main([*words, *asked]) == 0
    printed = capsys.readouterr().out
    model = cl.load_model(folder)
    steering = cl.DiffMean().fit(model, cl.load_examples(divided), 1)
    test = cl.load_examples(divided, "test")
    expected = cl.evaluate(model, test, steering, 1, 3.0, "last_prompt")
    found = cl.Evaluation.load(tmp_path / "out")
    pd.testing.assert_frame_equal(found.table, expected.table, check_dtype=False)
    assert found.about["steering"]["examples_count"] == 4
    assert (found.about["layers"], found.about["eta"]) == ([1], 3.0)
    for name, row in expected.summary.iterrows():
        assert f"{row['change']:.4f}" in next(
            line for line in printed.splitlines() if line.startswith(f"{name} ")
        )
    summary = pd.read_csv(tmp_path / "out" / "summary.csv", index_col=0)
    pd.testing.assert_frame_equal(summary, expected.summary)
    assert cl.Steering.load(tmp_path / "out" / "steering.safetensors", model).layers == (1,)
    assert main([*words, *asked]) == 0  # an earlier result is replaced


def test_split_sizes(words, tmp_path):
    assert main([*words, "--method", "DiffMean", "--n", "2", "--test", "2"]) == 0
    found = cl.Evaluation.load(tmp_path / "out")
    assert len(found.table) == found.about["examples_count"] == 2
    assert found.about["steering"]["examples_count"] == 2


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (["--method", "CAA"], "found 'CAA'"),
        (["--layer", "9"], "found layer 9"),
        (["--test", "0"], "found n"),
        (["--examples", "demo/kindness"], "found 'demo/kindness'"),
        (["--prompt-format", "chat"], "where prompts are whole"),
    ],
)
def test_bad_input_is_one_line_and_status_2(words, tmp_path, capsys, change, text):
    method = [] if "--method" in change else ["--method", "DiffMean"]
    assert main([*words, *method, *change]) == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (["--eta", "nan"], "found eta = nan"),
        (["--batch-size", "0"], "found batch_size = 0"),
        (["--positions", "generated"], "it is read before it is generated"),
    ],
)
def test_it_is_refused_before_the_fit(words, capsys, change, text, monkeypatch):
    def too_late(*_args, **_settings):
        raise AssertionError("the fit has started")

    monkeypatch.setattr("coldlens.cli.evaluate.Evaluate.fit", too_late)
    assert main([*words, *change]) == 2
    assert text in capsys.readouterr().err


def test_examples_without_a_test_split_are_refused(folder, rows, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["evaluate", "--model", "./nowhere", "--examples", str(rows), "--out", str(out)]
    assert main(words) == 2
    assert "no field or column 'split'" in capsys.readouterr().err
