"""What methods cost: growth of power laws, and a tiny case."""

import numpy as np
import pandas as pd
import pytest

from analyses.cost import Cost, growth, power_law
from analyses.cost_measure import METHODS, alone, measure, prepared
from analyses.kernel_methods import Case
from analyses.measure import in_fresh_process
from coldlens.errors import ArgumentError
from coldlens.examples.tokens import encode


def test_power_laws_are_found():
    sizes = np.array([4.0, 8.0, 32.0])
    slope, error = power_law(pd.Series(3 * sizes**1.7, index=sizes))
    assert slope == pytest.approx(1.7)
    assert error == pytest.approx(0, abs=1e-6)
    _, error = power_law(pd.Series(sizes * [1.0, 2.0, 1.0], index=sizes))
    assert error > 0.1
    assert np.isnan(power_law(pd.Series([1.0, 2.0], index=[1, 2]))[1])


def test_growth_is_by_parameters_tokens_and_examples():
    base = {"method": "DiffMean", "parameters": 10, "tokens": 4, "examples": 2}
    rows = [
        {**base, column: size, "axis": axis, "fit_seconds": size**power, "input_seconds": 1.0}
        for axis, column, power in (("d", "parameters", 1), ("tokens", "tokens", 2))
        for size in (10, 20, 40)
    ]
    found = growth(pd.DataFrame(rows).assign(peak_mb=2.0)).set_index(["axis", "measure"]).exponent
    assert found["d", "fit_seconds"] == pytest.approx(1)
    assert found["tokens", "fit_seconds"] == pytest.approx(2)
    assert found["tokens", "input_seconds"] == pytest.approx(0)
    assert found["d", "peak_mb"] == pytest.approx(0)


def test_sequences_have_the_length_that_is_stated():
    model, examples, prompt = prepared(Case(32, 1, 6, 3))
    assert [len(one.sequence("positive")) for one in encode(model, examples)] == [6, 6, 6]
    assert prompt.shape == (1, 6)
    assert tuple(prompt[0, :-1].tolist()) not in {one.prompt for one in examples}


@pytest.mark.slow
def test_a_tiny_case():
    found = measure(Case(32, 1, 6, 3), repetitions=2)
    assert found.groupby("method").size().to_dict() == dict.fromkeys(METHODS, 2)
    assert (found[["fit_seconds", "input_seconds", "peak_mb"]] > 0).all(axis=None)


@pytest.mark.slow
def test_a_larger_case_takes_more_memory():
    large, small = (
        in_fresh_process(alone, "ColdJVP", case)
        for case in (Case(128, 4, 64, 10), Case(32, 1, 6, 3))
    )
    assert large > small + 5


def test_refused_settings(tmp_path):
    with pytest.raises(ArgumentError, match="repetitions"):
        Cost(tmp_path, repetitions=0).run()
