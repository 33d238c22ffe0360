"""Every claim holds and every counter-case fails; what does not apply says so."""

import pytest
from equivalence.reports import single, verified
from exact.cases import data_of

from coldlens.equivalence.verify import verify_equivalences

UNTIED = ("llama",)
TIED = ("gpt2", "gemma2", "demo")
CHECKS = [f"E{number}" for number in range(1, 11)]


@pytest.mark.parametrize("name", [*UNTIED, *TIED])
def test_all_hold(name):
    report = verified(name)
    assert report.all_hold, f"\n{report.broken.to_string()}"
    assert list(dict.fromkeys(report.table.check)) == CHECKS
    applies = report.table.query("case != 'not applicable'")
    assert set(applies.check) == set(CHECKS) - ({"E6"} if name in UNTIED else set())


def test_a_loss_that_reads_the_logits_of_options():
    report = verify_equivalences(single("gpt2"), data_of("gpt2", "paired"), [1])
    assert "OptionDistribution" in report.about["loss"]
    assert report.all_hold, f"\n{report.broken.to_string()}"
    (tied,) = report.table.query("check == 'E6'").itertuples()
    assert tied.case == "not applicable"
    assert "no token of this prompt" in tied.detail


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_positive_only_data(name):
    report = verified(name, "positive")
    assert report.all_hold, f"\n{report.broken.to_string()}"
    absent = report.table.query("case == 'not applicable'")
    untied = {"E6"} if name in UNTIED else set()
    assert set(absent.check) == {"E1", "E2", "E3", "E9", "E10"} | untied
    assert absent.holds.isna().all()
    assert absent.query("check != 'E6'").detail.str.contains("negative completions").all()
    claims = report.table.query("case == 'claim'")
    assert {"E4", "E5", "E7", "E8", "E10"} <= set(claims.check)


@pytest.mark.parametrize("name", [*UNTIED, *TIED])
def test_claims_are_close_and_counter_cases_far(name):
    claims = verified(name).table.query("case == 'claim' and cosine.notna()")
    counters = verified(name).table.query("case == 'counter' and relative_error.notna()")
    assert (claims.relative_error <= claims.tolerance).all()
    assert (claims.cosine > 1 - 1e-10).all()
    assert ((claims.scale - 1).abs() <= 2 * claims.tolerance).all()
    assert (claims.tolerance < 1e-9).all()
    assert (counters.relative_error > 1000 * counters.tolerance).all()


@pytest.mark.parametrize("name", ["llama", "gpt2", "demo"])
def test_curves_have_floors(name):
    curves = verified(name).curves.query("check == 'E4'")
    lowest = curves.groupby(["scheme", "dtype"]).error.min()
    for scheme, slack in (("forward", 0.5), ("central", 2 / 3)):
        floors = lowest[scheme]
        assert floors["float64"] < floors["float32"] < floors["bfloat16"]
        # √u or u^⅔ in float64, give or take the curvature and the sums
        assert floors["float64"] < 100 * 2.0 ** (-53 * slack)
    fitted = curves.query("fitted")
    assert set(fitted.dtype) == {"float64"}
    assert (fitted.groupby(["layer", "scheme"]).size() >= 3).all()


def test_layers_are_those_asked_for():
    assert set(verified("demo").table.layer.dropna()) == {0, len(single("demo").blocks) - 1}
