"""`EmpiricalNTK(method="sketched")` and a kernel agreement that rests on it."""

import json

import pandas as pd
import pytest
import torch
import zoo
from exact.cases import ARCHITECTURES, DATA, data_of, model_of
from exact.closeness import assert_close
from kernels.ntk_cases import EXAMPLES, QUERIES

from coldlens.agreement.agreement import kernel_agreement
from coldlens.agreement.report import KernelAgreement
from coldlens.agreement.spectrum import identity_fit
from coldlens.errors import ArgumentError, NumericsError
from coldlens.kernels import EmpiricalNTK, structured
from coldlens.kernels.moments import haar_rows
from coldlens.kernels.sketch import sketch_of
from coldlens.losses import DPO

EXACT = 1e-10
PAIRS = DATA["paired"][:3]
ASKED = ((1, 30, 35), (12, 13, 14, 15, 16))


def sketched(model, **settings):
    return EmpiricalNTK(model, QUERIES, EXAMPLES, [1], method="sketched", **settings)


@pytest.fixture(params=ARCHITECTURES)
def model(request):
    return model_of(request.param)


def test_a_sketch_is_that_of_the_exact_blocks(model):
    exact = EmpiricalNTK(model, QUERIES, EXAMPLES, [1])
    found, blocks = sketched(model, probes=12, seed=3), exact.blocks(1)
    rows = haar_rows(12, model.cfg.d_model, seed=3)
    expected = sketch_of(rows @ blocks @ rows.T, model.cfg.d_model).identity_fit()
    for name, values in found.sketch(1).identity_fit().items():
        assert_close(values, expected[name], EXACT, name)
    assert_close(found.traces(1), found.sketch(1).trace.estimate, EXACT, "traces")


def test_most_intervals_hold_the_exact_figures():
    covered = {"trace": [], "squared_norm": [], "alignment": []}
    for name in ARCHITECTURES[:-1]:
        blocks = EmpiricalNTK(model_of(name), QUERIES, EXAMPLES, [1]).blocks(1)
        found = sketched(model_of(name), probes=12, seed=len(name)).sketch(1)
        exact = {
            "trace": blocks.diagonal(dim1=-2, dim2=-1).sum(-1),
            "squared_norm": blocks.square().sum((-1, -2)),
            "alignment": identity_fit(blocks)["alignment"],
        }
        for figure, value in exact.items():
            interval = getattr(found, figure)
            covered[figure].append((interval.low <= value) & (value <= interval.high))
    for figure, inside in covered.items():
        assert torch.cat(inside).double().mean() > 0.85, figure


@pytest.mark.parametrize("layer", [0, 3])
def test_intervals_cover_on_the_bundled_model_as_the_docstring_says(layer):
    model = model_of("demo")
    prompts = [example.prompt for example in data_of("demo", "paired")]
    kernel = EmpiricalNTK(model, prompts[:2], data_of("demo", "paired"), [layer])
    blocks = kernel.blocks(layer).flatten(0, 1)
    rows = torch.stack([haar_rows(32, 96, seed) for seed in range(400)]).unsqueeze(1)
    found = sketch_of(rows @ blocks @ rows.mT, 96)
    exact = {
        "trace": blocks.diagonal(dim1=-2, dim2=-1).sum(-1),
        "squared_norm": blocks.square().sum((-1, -2)),
        "alignment": identity_fit(blocks)["alignment"],
    }
    for figure, value in exact.items():
        interval = getattr(found, figure)
        covered = ((interval.low <= value) & (value <= interval.high)).double().mean(0)
        assert covered.min() > 0.86, figure
        assert 0.90 < covered.mean() < 0.98, figure
    bias = found.alignment.estimate.mean(0) - exact["alignment"]
    assert bias.abs().max() < 0.015


def test_as_many_probes_as_coordinates_are_exact():
    model = model_of("llama")
    exact = EmpiricalNTK(model, QUERIES, EXAMPLES, [1])
    for probes in (16, 500):
        found = sketched(model, probes=probes)
        assert_close(found.traces(1), exact.traces(1), EXACT, "traces")
        fit = found.sketch(1).identity_fit()
        for name, values in identity_fit(exact.blocks(1)).items():
            assert_close(fit[name], values, EXACT, name)


def test_only_the_seed_matters():
    model = model_of("gpt2")
    torch.manual_seed(1)
    first = sketched(model, probes=8, seed=5).traces(1)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    with torch.inference_mode():
        again, other = (sketched(model, probes=8, seed=seed).traces(1) for seed in (5, 6))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(again, first)
    assert not torch.equal(other, first)


@pytest.mark.parametrize("width", [16, 32, 64])
def test_the_rows_that_go_back_do_not_grow_with_the_model(width, monkeypatch):
    stem, settings = zoo.CONFIGS["llama"]
    monkeypatch.setitem(zoo.CONFIGS, "llama", (stem, {**settings, "hidden_size": width}))
    model = zoo.bridge("llama")
    assert model.cfg.d_model == width
    rows, true = [], structured.sweep

    def counted(*args):
        rows.append(len(args[4]))
        return true(*args)

    monkeypatch.setattr(structured, "sweep", counted)
    kernel = sketched(model, probes=8, audit=False)
    kernel._found(1, kernel._cross_pairs)
    assert rows == [8] * 5  # five different sequences, each swept once
    rows.clear()
    EmpiricalNTK(model, QUERIES, EXAMPLES, [1], audit=False).blocks(1)
    assert sum(rows) == 5 * width


def test_the_block_of_a_sequence_with_itself_is_symmetric():
    kernel = sketched(model_of("llama"), probes=8)
    found = kernel._found(1, [(0, 0), (0, 1)])
    assert torch.equal(found[0], found[0].T)
    assert not torch.equal(found[1], found[1].T)


def test_the_cost_is_that_of_its_probes():
    model = zoo.bridge("llama")
    few, many, exact = (
        EmpiricalNTK(model, QUERIES, EXAMPLES, [1], **settings).estimate().operations
        for settings in (
            dict(method="sketched", probes=4),
            dict(method="sketched", probes=8),
            dict(),
        )
    )
    assert few < many < exact


def test_too_few_probes_say_how_many():
    with pytest.raises(NumericsError, match=r"with 3 probes\. Use some \d+ probes"):
        sketched(model_of("llama"), probes=3).sketch(1)


def test_there_are_no_blocks():
    kernel = sketched(model_of("llama"))
    for ask in (
        lambda: kernel.blocks(1),
        lambda: kernel.query_blocks(1),
        lambda: kernel.self_block(1, 0),
        lambda: kernel.example_block(1, 0),
        lambda: kernel.cross_block(1, 0, 0),
    ):
        with pytest.raises(ArgumentError, match=r"forms none\. Use sketch or traces"):
            ask()
    with pytest.raises(ArgumentError, match='method="sketched" for a sketch'):
        EmpiricalNTK(model_of("llama"), QUERIES, EXAMPLES, [1]).sketch(1)


@pytest.mark.parametrize("probes", [2, 0, True])
def test_refused_probes(probes):
    with pytest.raises(ArgumentError, match="an integer probes >= 3"):
        sketched(model_of("llama"), probes=probes)


@pytest.fixture(scope="module")
def exact_report():
    return kernel_agreement(model_of("gpt2"), PAIRS, [0, 1], ASKED, loss=DPO(beta=0.7))


@pytest.fixture(scope="module")
def report():
    return kernel_agreement(
        model_of("gpt2"), PAIRS, [0, 1], ASKED, loss=DPO(beta=0.7), method="sketched", probes=10
    )


def rung(report, name):
    return report.ladder[report.ladder.rung == name].reset_index(drop=True)


def test_an_agreement_from_a_sketch_is_near_the_exact_one(report, exact_report):
    found, exact = report.table, exact_report.table
    inside = (found.alignment_low <= exact.alignment) & (exact.alignment <= found.alignment_high)
    assert inside.mean() > 0.7
    assert (found.scale / exact.scale - 1).abs().max() < 0.5
    for name in ("full", "last_position"):
        pd.testing.assert_frame_equal(rung(report, name), rung(exact_report, name))
    assert (rung(report, "scalar").cosine - rung(exact_report, "scalar").cosine).abs().max() < 0.2
    assert not rung(report, "scalar").equals(rung(exact_report, "scalar"))
    assert report.about["settings"] == "method='sketched', probes=10, seed=0"


def test_an_agreement_from_all_probes_is_exact(exact_report):
    report = kernel_agreement(
        model_of("gpt2"), PAIRS, [0, 1], ASKED, loss=DPO(beta=0.7), method="sketched", probes=16
    )
    columns = list(exact_report.table.columns)
    pd.testing.assert_frame_equal(report.table[columns], exact_report.table, rtol=EXACT)
    pd.testing.assert_frame_equal(report.ladder, exact_report.ladder, rtol=1e-9, atol=1e-9)


def test_a_sketch_has_no_spectra_and_says_so(report, exact_report, tmp_path):
    assert report.spectra.empty
    assert list(report.spectra.columns) == list(exact_report.spectra.columns)
    assert report.by_layer[["effective_rank", "top_eigenvalue_share"]].isna().all(axis=None)
    assert report.by_layer.scale_variation.notna().all()
    assert "there are no spectra" in report.summary()
    assert "there are no spectra" not in exact_report.summary()
    assert any("has no spectra" in text.get_text() for text in report.plot().axes[2].texts)
    again = KernelAgreement.load(report.save(tmp_path / "report"))
    assert again.spectra.empty
    assert again.summary() == report.summary()
    assert again.plot().axes
    pd.testing.assert_frame_equal(again.table, report.table, rtol=1e-14)
    assert json.loads((tmp_path / "report" / "result.json").read_text())["settings"]
