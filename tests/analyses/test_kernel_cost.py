import json
from dataclasses import astuple, replace

import numpy as np
import pandas as pd
import pytest
import torch

from analyses import kernel_cost
from analyses.kernel_cost import KernelCost, difference
from analyses.kernel_methods import METHODS, Case, alone
from analyses.kernel_tables import CENTRE, GPT2, REFERENCE, along, bounds, growth
from analyses.measure import in_fresh_process, interleaved
from coldlens.errors import ArgumentError
from coldlens.kernels.jacobian import jacobian_blocks
from coldlens.models.parameters import upstream
from coldlens.results import loaded

pytestmark = pytest.mark.slow

EXACT = 1e-12
"""Float64 against float64 in another order."""


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_methods_agree_with_the_definition(architecture):
    case = Case(64, 2, 5, 3, architecture)
    model, sequences = case.model(torch.float64), case.sequences()
    pairs = [(i, j) for i in range(3) for j in range(i, 3)]
    names = list(upstream(model, 1))
    expected = jacobian_blocks(model, tuple(sequences), 1, names, pairs)
    for name, method in METHODS.items():
        found = method(model, sequences, 7)
        assert found.keys() == expected.keys()
        assert all(len(rows) == (7 if name == "products" else 64) for rows in found.values())
        assert difference(found, expected) < EXACT, name
    turned = {pair: block.T for pair, block in expected.items()}
    assert difference(turned, expected) > 0.01


def measurements(*rows):
    """Makes a table `cost` of (case, time ratio, memory ratio, MB, difference) of Jacobians."""
    sizes = ["d", "layers", "tokens", "examples", "architecture"]
    values = ["ratio_to_structured", "peak_ratio_to_structured", "process_mb", "difference"]
    names = ("contraction", "pairs once")
    found = [(*astuple(case), *rest, name) for case, *rest in rows for name in names]
    return pd.DataFrame(found, columns=[*sizes, *values, "method"])


@pytest.mark.parametrize(
    ("ratios", "held"),
    [((8.1, 30.1, 0.84, 3999, 1e-5), [True] * 5), ((7.9, 29.9, 0.83, 4001, 2e-4), [False] * 5)],
)
def test_bounds_hold_or_not(ratios, held):
    time, memory, long, gpt2, error = ratios
    found = bounds(
        measurements(
            (REFERENCE, time, memory, 5000, 1e-7),
            (CENTRE, 0.1, 0.1, 5000, error),
            (replace(CENTRE, tokens=96), 2.0, 0.1, 5000, 1e-7),
            (replace(CENTRE, tokens=65), long, 0.1, 5000, 1e-7),
            (GPT2, np.nan, np.nan, gpt2, np.nan),
        )
    )
    assert found.holds.dropna().tolist() == held
    beside = found[found.holds.isna()]
    assert beside.measured.tolist() == [time, memory]
    assert beside.limit.isna().all()
    assert len(bounds(measurements((CENTRE, 1.0, 1.0, 100, 0.0)))) == 1


def test_growth_of_power_laws():
    rows = [
        {
            **vars(replace(CENTRE, **{axis: size})),
            "method": method,
            "seconds": 3 * size**exponent,
            "peak_mb": size ** (exponent / 2),
        }
        for axis in ("d", "tokens")
        for size in (8, 24, 72)
        for method, exponent in (("structured", 1.0), ("contraction", 3.0))
    ]
    other = {**rows[0], "layers": 7, "seconds": 1e9}
    found = growth(along(pd.DataFrame([*rows, other]), ["d", "tokens"]))
    assert found.axis.tolist() == ["d", "d", "tokens", "tokens"]
    assert found.sizes.tolist() == ["8 24 72"] * 4
    np.testing.assert_allclose(found.seconds_exponent, [1, 3, 1, 3])
    np.testing.assert_allclose(found.peak_mb_exponent, [0.5, 1.5, 0.5, 1.5])


def test_time_is_taken_in_turns():
    order = []
    found = interleaved({name: lambda name=name: order.append(name) for name in "ab"}, 3)
    assert order == ["a", "b"] * 3
    assert found.shape == (3, 2)


@pytest.mark.parametrize("method", ["contraction", "pairs once"])
def test_memory_of_jacobians_is_what_they_hold(method):
    case = Case(64, 4, 16, 4)
    entries = sum(found.tensor.numel() for found in upstream(case.model(), 3).values())
    held = case.examples * case.d * entries * 4 / 1e6
    ballast = torch.ones(50_000_000)  # in this process, so not in the other one
    measured = in_fresh_process(alone, case, method, case.d)
    del ballast
    assert held < measured["peak_mb"] < 1.5 * held
    assert measured["peak_mb"] < measured["process_mb"]
    assert measured["seconds"] > 0


def test_a_tiny_run(tmp_path, monkeypatch):
    centre = Case(d=32, layers=1, tokens=4, examples=2)
    monkeypatch.setattr("analyses.kernel_tables.CENTRE", centre)
    monkeypatch.setattr(kernel_cost, "CENTRE", centre)
    monkeypatch.setattr(kernel_cost, "QUICK", {"d": (32, 64), "tokens": (4, 40)})
    threads = torch.get_num_threads()
    tables = KernelCost(tmp_path / "cost", quick=True, repetitions=2, rows=2).run()
    assert torch.get_num_threads() == threads
    cost = tables["cost"]
    assert len(cost) == 3 * len(METHODS)
    assert (cost.seconds > 0).all()
    assert (cost.query("method == 'structured'").ratio_to_structured == 1).all()
    assert (cost.ratio_low <= cost.ratio_to_structured).all()
    assert len(tables["growth"]) == 2 * len(METHODS)
    assert len(tables["bounds"]) == 2
    folder = tmp_path / "cost" / "random" / "kernel_cost"
    saved, about = loaded(folder, KernelCost.drawing.kind)
    assert saved["cost"].method.tolist() == cost.method.tolist()
    assert about["settings"] == {"quick": True, "gpt2": False, "repetitions": 2, "rows": 2}
    assert about["machine"]["cores"] >= 1
    assert "torch" in about["versions"]
    assert str(tmp_path) not in json.dumps(about)


@pytest.mark.parametrize("settings", [{"repetitions": 0}, {"rows": 0}])
def test_refused_settings(tmp_path, settings):
    with pytest.raises(ArgumentError, match=next(iter(settings))):
        KernelCost(tmp_path / "cost", **settings).run()
