"""Saved results: whole, checked, and of their own kind."""

import csv

import pandas as pd
import pytest

from coldlens.errors import DataError
from coldlens.results import (
    ResultKind,
    loaded,
    read_token_ids,
    reading,
    saved,
    write_token_ids,
)

KIND = ResultKind("measure", "test-1", {"one": ("a", "word")})
OTHER = ResultKind("compare", "test-2", {"other": ("b",)})


HARD = [
    *("", "NA", "null", "nan", "None", "1", "1.0", "007", "1e3", "True", "inf", "-"),
    *("\r", "\n", "\r\n", "a\rb", "a\nb", "\0", "a\0b", "\t", "\x1a", "\x85", "\u2028", "\ufeff"),
    *('"', '""', "'", ",", "a,b", " lead", "trail ", "\\", "#x", "é", "�"),
]
"""Texts that a table may take for a number, a missing value, a row's end or a quote."""

LONG = pytest.param(["x", 'é"\n' * csv.field_size_limit(), None], id="long")


@pytest.fixture
def folder(tmp_path):
    table = pd.DataFrame({"a": [1, 2, 3], "word": ["nan", "12", ""]})
    with saved(tmp_path / "result", KIND, {"one": table}, {"seed": 3}) as part:
        assert part.is_dir()
    return tmp_path / "result"


def test_round_trip(folder):
    tables, about = loaded(folder, KIND)
    assert about == {"seed": 3}
    assert tables["one"].word.tolist() == ["nan", "12", ""]
    assert tables["one"].a.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "words", [HARD, *([word, word] for word in HARD), ["x", None, *HARD], LONG], ids=repr
)
def test_every_text_comes_back_as_it_was(tmp_path, words):
    limit = csv.field_size_limit()
    rows = range(len(words))
    table = pd.DataFrame({"a": rows, "word": words, "one": "1", "share": [0.1 * x for x in rows]})
    for name, columns in (("wide", ["a", "word", "one", "share"]), ("narrow", ["word"])):
        kind = ResultKind("measure", "test-1", {"one": columns})
        with saved(tmp_path / name, kind, {"one": table[columns]}, {"seed": 3}):
            pass
        tables, about = loaded(tmp_path / name, kind)
        assert about == {"seed": 3}
        pd.testing.assert_frame_equal(tables["one"], table[columns])
        assert [None if pd.isna(word) else word for word in tables["one"].word] == words
        assert csv.field_size_limit() == limit


def test_columns_of_numbers_stay_numbers(tmp_path):
    table = pd.DataFrame(
        {"a": [1, 2], "word": [float("nan")] * 2, "b": [0.5, None], "c": [True, False]}
    )
    with saved(tmp_path / "result", KIND, {"one": table}, {}):
        pass
    again = loaded(tmp_path / "result", KIND)[0]["one"]
    pd.testing.assert_frame_equal(again, table, check_dtype=False)
    assert [again[name].dtype.kind for name in table] == ["i", "f", "f", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("a,word\n1,x\n", "1 rows instead of 3"), ("a\n1\n2\n3\n", "no column word"), ("\0", "at ")],
)
def test_a_damaged_table(folder, text, message):
    (folder / "one.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        loaded(folder, KIND)


def test_another_kind_of_result(folder):
    with pytest.raises(DataError, match="a result of format test-2; found 'test-1'"):
        loaded(folder, OTHER)


def test_token_ids(folder):
    with pytest.raises(DataError, match=r"result of measure; found FileNotFoundError.*token_ids"):
        read_token_ids(folder, KIND)
    write_token_ids(folder, {"examples": [[[1, 2], [3], None]], "queries": [(4, 5)]})
    assert read_token_ids(folder, KIND) == {
        "examples": [[[1, 2], [3], None]],
        "queries": [[4, 5]],
    }


def test_what_a_damaged_file_raises_names_its_result(folder):
    with (
        pytest.raises(DataError, match=r"saved result of measure; found ValueError: 7 at .*result"),
        reading(folder, KIND),
    ):
        raise ValueError(7)
    with pytest.raises(ZeroDivisionError), reading(folder, KIND):
        raise ZeroDivisionError
