"""`coldlens report` as a user types it."""

import json
from dataclasses import replace

import pytest
import zoo
from page.pages import Page

from coldlens.cli import main

WORDS = "cat dog bird tree house river stone red blue green one two three four".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny-llama")
    zoo.hf_model("llama").save_pretrained(path)
    zoo.tokenizer().save_pretrained(path)
    return path


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    prompts = [f"question : {word} ? answer : (" for word in WORDS]
    pairs = [{"prompt": p, "positive": "A", "negative": "B"} for p in prompts]
    path.write_text("\n".join(map(json.dumps, pairs)))
    return path


@pytest.fixture
def words(folder, rows, tmp_path):
    out = tmp_path / "out" / "report.html"
    return ["report", "--model", str(folder), "--examples", str(rows), "--out", str(out)]


def test_it_writes_a_page_and_says_first_what_it_will_do(
    words, tmp_path, capsys, monkeypatch, results
):
    monkeypatch.setattr("coldlens.cli.report.verify_equivalences", lambda *_, **__: results.checks)
    quick = ["--n", "3", "--layers", "1", "--lengths", "0.3", "--methods", "DiffMean", "Random"]
    assert main([*words, *quick, "--kernel-n", "2", "--checks-n", "2"]) == 0
    printed = capsys.readouterr().out
    assert "11 questions from" in printed
    assert "rows not drawn" in printed
    assert "11 questions asked 2 times (2 methods x 1 layer x 1 length)" in printed
    assert "all hold" in printed
    page = Page((tmp_path / "out" / "report.html").read_text())
    assert {"directions", "kernel", "checks", "steering"} <= page.ids
    assert page.data["directions"]["layers"] == page.data["steering"]["layers"] == [1]
    assert set(page.data["steering"]["tables"]["steering"]["method"]) == {"DiffMean", "Random"}
    assert len(page.data["kernel"]["examples"]) == 2


def test_a_check_that_fails_is_on_the_page_and_in_the_status(words, tmp_path, monkeypatch, results):
    table = results.checks.table.assign(holds=True)
    broken = replace(results.checks, table=table)
    monkeypatch.setattr("coldlens.cli.report.verify_equivalences", lambda *_, **__: broken)
    assert main([*words, "--n", "3", "--layers", "1", "--skip", "kernel", "steering"]) == 1
    page = Page((tmp_path / "out" / "report.html").read_text())
    assert "Not every claim holds" in "".join(page.contents["p"])


def test_parts_can_be_left_out_and_too_few_questions_are_not_asked(words, tmp_path, capsys):
    assert main([*words, "--n", "8", "--layers", "1", "--skip", "kernel", "checks"]) == 0
    printed = capsys.readouterr().out
    assert "steering is left out: 6 held-out questions, 10 are needed" in printed
    assert set(Page((tmp_path / "out" / "report.html").read_text()).data) == {
        "layers",
        "directions",
    }


@pytest.mark.parametrize(
    ("few", "left"), [(["--n", "1"], "1 example"), (["--n", "3", "--checks-n", "1"], "1 example")]
)
def test_checks_of_one_example_are_left_out_before_work_starts(words, tmp_path, capsys, few, left):
    quick = ["--layers", "1", "--skip", "steering", "--kernel-n", "1"]
    assert main([*words, *few, *quick]) == 0
    printed = capsys.readouterr().out
    told = f"checks are left out: {left}, 2 are needed; see --n and --checks-n"
    assert printed.index(told) < printed.index("directions of ")
    assert "kernel of 1 example." in printed
    assert "checks were left out" in printed
    page = Page((tmp_path / "out" / "report.html").read_text())
    assert set(page.data) == {"layers", "directions", "kernel"}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (["--out", "page.txt"], "which does not end so"),
        (["--layers", "9"], "found layer 9"),
        (["--methods", "CAA"], "found 'CAA'"),
        (["--lengths", "0"], "lengths > 0"),
        (["--test", "0"], "test >= 1"),
        (["--checks-n", "0"], "checks_n >= 1"),
    ],
)
def test_bad_input_is_one_line_before_any_work(words, capsys, change, text, monkeypatch):
    def too_late(*_args, **_settings):
        raise AssertionError("work has started")

    monkeypatch.setattr("coldlens.cli.report.compare_directions", too_late)
    assert main([*words, "--n", "3", *change]) == 2
    assert text in capsys.readouterr().err
