"""Tables are made once for one question, made again for another, and never half written."""

import json

import pandas as pd
import pytest

from coldlens.errors import DataError
from coldlens.figures.record import made
from coldlens.results import ResultKind

KIND = ResultKind("try", "coldlens-try-1", {"rows": ("value",)})
WANTED = {"settings": {"n": 3, "sizes": (1, 2)}, "model_fingerprint": "a", "data_hash": "b"}


class Measure:
    """Counts its calls."""

    calls = 0

    def __call__(self):
        self.calls += 1
        return {"rows": pd.DataFrame({"value": [0.1 * self.calls]})}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "model" / "try"


def test_equal_wishes_are_made_once(folder):
    measure = Measure()
    first = made(folder, KIND, WANTED, measure)
    second = made(folder, KIND, WANTED, measure)
    assert measure.calls == 1
    pd.testing.assert_frame_equal(first["rows"], second["rows"])


@pytest.mark.parametrize(
    "other",
    [
        {"settings": {"n": 4, "sizes": (1, 2)}},
        {"settings": {"n": 3, "sizes": (1, 2), "new": 0}},
        {"model_fingerprint": "c"},
        {"data_hash": "c"},
        {"another": 1},
    ],
    ids=str,
)
def test_other_wishes_are_made_anew(folder, other):
    measure = Measure()
    made(folder, KIND, WANTED, measure)
    made(folder, KIND, WANTED | other, measure)
    assert measure.calls == 2
    assert made(folder, KIND, WANTED | other, measure)["rows"].value[0] == pytest.approx(0.2)
    assert measure.calls == 2


def test_force_makes_anew(folder):
    measure = Measure()
    made(folder, KIND, WANTED, measure)
    made(folder, KIND, WANTED, measure, force=True)
    assert measure.calls == 2


def test_a_damaged_table_is_made_anew(folder):
    measure = Measure()
    made(folder, KIND, WANTED, measure)
    (folder / "rows.csv").write_text("value\n")
    made(folder, KIND, WANTED, measure)
    assert measure.calls == 2


def test_what_is_no_result_is_refused_before_measuring(folder):
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("mine")
    measure = Measure()
    with pytest.raises(DataError, match="something else"):
        made(folder, KIND, WANTED, measure)
    assert measure.calls == 0
    assert (folder / "thesis.tex").read_text() == "mine"


def test_a_measurement_that_fails_leaves_the_earlier_result(folder):
    made(folder, KIND, WANTED, Measure())
    before = (folder / "rows.csv").read_bytes()

    def fail():
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        made(folder, KIND, WANTED, fail, force=True)
    assert (folder / "rows.csv").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == ["try"]


def test_circumstances_are_in_the_record_only(folder):
    made(folder, KIND, WANTED, Measure(), beside=lambda: {"machine": "small"})
    about = json.loads((folder / "result.json").read_text())
    assert about["settings"] == {"n": 3, "sizes": [1, 2]}
    assert {"date", "versions", "platform", "seconds", "machine", "model_fingerprint"} <= set(about)
    assert (folder / "rows.csv").read_text() == "value\n0.1\n"
