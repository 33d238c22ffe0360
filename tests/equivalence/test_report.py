"""The report: what counts as holding, storage, figures, and what is refused."""

import html
from dataclasses import replace

import pandas as pd
import pytest
import torch
import zoo
from exact.cases import data_of

from coldlens.equivalence import contrast, steps, verify
from coldlens.equivalence.report import Equivalences
from coldlens.equivalence.rows import Check, Row
from coldlens.equivalence.verify import verify_equivalences
from coldlens.errors import ArgumentError, DataError, ExampleError, NumericsError


def changed(report, query, **values):
    table = report.table.copy()
    index = table.query(query).index
    for name, value in values.items():
        table.loc[index, name] = value
    return replace(report, table=table)


def test_a_claim_that_fails_is_broken(report):
    wrong = changed(report, "check == 'E7' and case == 'claim' and layer == 1", holds=False)
    assert not wrong.all_hold
    assert list(wrong.broken.check) == ["E7"]
    assert "E7" in repr(wrong)
    assert "NOT AS IT SHOULD BE" in set(wrong.summary().verdict)


def test_a_counter_case_that_holds_is_broken(report):
    assert not changed(report, "check == 'E1' and case == 'counter'", holds=True).all_hold


def test_a_claim_needs_a_counter_case(report):
    bare = report.table.query("not (check == 'E9' and case == 'counter')")
    assert not replace(report, table=bare).all_hold


def test_nothing_holds_by_not_applying(report):
    nothing = changed(report, "check != ''", case="not applicable", holds=pd.NA)
    assert not nothing.all_hold
    assert set(nothing.summary().verdict) == {"not applicable"}


def test_verdicts_are_unambiguous(report):
    said = report.table.groupby("case").verdict.agg(set)
    assert said["claim"] == {"holds"}
    assert said["counter"] == {"fails, as it must"}
    row = Row("E1", "counter", 0, "claim", True)
    assert row.verdict == "HOLDS, BUT MUST NOT"
    assert replace(row, case="claim", holds=False).verdict == "DOES NOT HOLD"


def test_not_a_number_does_not_hold():
    check, unknown = Check("E1", "claim"), torch.tensor([float("nan")])
    one, zero = torch.ones(1), torch.zeros(1)
    assert not check.equal(0, unknown, one, 1.0, "").holds
    assert not check.equal(0, one, zero, 1.0, "").holds
    assert not check.exponent(0, float("nan"), 2, 1.0, "").holds
    assert not check.bounded(0, float("nan"), 1.0, "").holds


def test_save_and_load(report, tmp_path):
    loaded = Equivalences.load(report.save(tmp_path / "report"))
    assert loaded.all_hold
    assert loaded.about == report.about
    pd.testing.assert_frame_equal(loaded.table, report.table)
    pd.testing.assert_frame_equal(loaded.curves, report.curves)
    report.save(tmp_path / "report")


@pytest.mark.parametrize("damage", ["missing", "format", "column"])
def test_a_damaged_report_is_refused(report, tmp_path, damage):
    folder = report.save(tmp_path / "report")
    if damage == "missing":
        (folder / "curves.csv").unlink()
    elif damage == "format":
        head = (folder / "result.json").read_text()
        (folder / "result.json").write_text(head.replace("coldlens-equivalences-1", "other-1"))
    else:
        report.table.drop(columns="holds").to_csv(folder / "table.csv", index=False)
    with pytest.raises(DataError, match="verify_equivalences again"):
        Equivalences.load(folder)


def test_plot(report):
    figure = report.plot()
    differences, step, errors = figure.axes
    labels = [text.get_text() for text in differences.get_legend().get_texts()]
    for dtype in ("float64", "float32", "bfloat16"):
        assert any(dtype in label for label in labels)
    assert any("slope 1.0" in label or "slope 0.99" in label for label in labels)
    assert "E4, E7: slopes" in errors.get_title()
    assert "slope 2.0" in step.get_legend().get_texts()[0].get_text()
    assert len(errors.get_xticklabels()) == len(
        set(report.table.query("relative_error.notna()").check)
    )
    assert "layer 2" in report.plot(layer=2).axes[0].get_title()
    with pytest.raises(ArgumentError, match="a layer among"):
        report.plot(layer=7)


def test_html(report):
    page = report._repr_html_()
    assert "all hold" in page
    assert "E10" in page
    for claim in report.table.claim.unique():
        assert html.escape(claim, quote=False) in page


def test_the_summary_names_claim_tolerance_and_counter_case(report):
    summary = report.summary()
    assert summary.claim.str.len().max() <= 60  # a line of the command's table
    assert (summary.tolerance > 0).all()
    known = summary.set_index("claim").counter_case
    assert known[contrast.MEAN.claim] == "without the stop-gradient: the gradients cancel"
    assert "held to slope 1" in known[steps.LIMITS["central"].claim]
    assert (known.str.len() > 0).all()


def test_the_record_is_of_the_callers_model(report):
    assert report.about["dtype"] == "float32"
    assert report.about["numerics"] == "raw"
    assert report.about["examples_count"] == 4


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_of_the_caller_changes(fails, monkeypatch):
    model = zoo.bridge("gemma2")
    known = dict(model.original_model.named_parameters())
    values = {name: value.detach().clone() for name, value in known.items()}
    buffers = {name: value.dtype for name, value in model.original_model.named_buffers()}
    random, training = torch.get_rng_state(), model.training
    if fails:

        def stop(_setting):
            raise KeyboardInterrupt

        monkeypatch.setattr(verify, "CHECKS", (*verify.CHECKS[:1], stop))
        with pytest.raises(KeyboardInterrupt):
            verify_equivalences(model, data_of("gemma2", "paired"), [1])
    else:
        verify_equivalences(model, data_of("gemma2", "paired"), [1])
    after = dict(model.original_model.named_parameters())
    assert after.keys() == known.keys()
    for name, value in after.items():
        assert value is known[name]
        assert value.grad is None
        assert value.requires_grad
        assert torch.equal(value, values[name])
    assert {n: b.dtype for n, b in model.original_model.named_buffers()} == buffers
    assert not [name for name, point in model.hook_dict.items() if point._forward_hooks]
    assert torch.equal(torch.get_rng_state(), random)
    assert model.training == training


def test_one_example_is_too_few():
    with pytest.raises(ExampleError, match="at least two examples"):
        verify_equivalences(zoo.bridge("llama"), data_of("llama", "paired")[:1])


@pytest.mark.parametrize("setting", [{"n": 0}, {"queries": 0}])
def test_counts_are_positive(setting):
    with pytest.raises(ArgumentError, match=">= 1, an integer"):
        verify_equivalences(zoo.bridge("llama"), data_of("llama", "paired"), **setting)


def test_a_loss_without_a_gradient():
    def flat(logits, batch):
        return 0 * logits.sum((1, 2))[: batch.size]

    with pytest.raises(NumericsError, match="displacement of zero"):
        verify_equivalences(zoo.bridge("llama"), data_of("llama", "positive"), loss=flat)
