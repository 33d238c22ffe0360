"""Generated text in a saved evaluation comes back as text, whatever it reads like."""

import pandas as pd
import pytest
from evaluation.conftest import LETTERS

from coldlens.evaluation import Evaluation, evaluate


@pytest.mark.parametrize(
    "texts",
    [
        ["1", "NA", "", "1e5", " 2"],
        ["1", "2", "3", "4", "5"],
        ["", "", "", "", ""],
        ["True", "False", "True", "False", "True"],
        ["a\rb", "\r", "\n", "\r\n", "\0"],
        ["", None, "None", "nan", "null"],
    ],
    ids=repr,
)
def test_text_stays_text(model, tmp_path, texts):
    found = evaluate(model, LETTERS, metrics=["choice"])
    kept = Evaluation(found.table.assign(text=texts, unsteered_text=texts[::-1]), found.about)
    kept.save(tmp_path / "evaluation")
    again = Evaluation.load(tmp_path / "evaluation")
    for name, wanted in (("text", texts), ("unsteered_text", texts[::-1])):
        assert [None if pd.isna(text) else text for text in again.table[name]] == wanted
    assert list(again.summary.index) == list(kept.summary.index) == list(found.summary.index)
