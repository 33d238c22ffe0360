"""Slopes of known errors, and of errors that have none."""

import math

import pytest
import torch

from coldlens.equivalence.slopes import IMPURITY, fit_slope

STEPS = torch.logspace(0, -8, 17, dtype=torch.float64)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("next_term", [0.5, 30.0, -3.0])
def test_the_tolerance_covers_the_terms_left_out(order, next_term):
    leading, noise = STEPS**order, 1e-14 / STEPS
    errors = leading * (1 + next_term * STEPS) + noise
    left_out = leading * abs(next_term) * STEPS / errors.abs()
    fit = fit_slope(STEPS, errors.abs(), left_out, noise / errors.abs())
    assert abs(fit.slope - order) <= fit.tolerance
    assert fit.tolerance < 0.1
    # Counter-case: no other order is within the tolerance.
    assert abs(fit.slope - (order + 1)) > fit.tolerance


def test_only_the_longest_pure_run_is_fitted():
    rounding = torch.full_like(STEPS, 0.01)
    rounding[:3], rounding[5], rounding[12:] = 0.5, 0.5, 0.5
    chosen = fit_slope(STEPS, STEPS, 0 * STEPS, rounding).chosen
    assert chosen.nonzero().flatten().tolist() == list(range(6, 12))


def test_without_a_truncation_range_there_is_no_slope():
    fit = fit_slope(STEPS, STEPS, 0 * STEPS, torch.full_like(STEPS, 2 * IMPURITY))
    assert math.isnan(fit.slope)
    assert not fit.chosen.any()


@pytest.mark.parametrize("limit", [1e-3, 1e-6])
def test_an_error_that_levels_off_has_no_slope(limit):
    leading, noise = STEPS, 1e-16 / STEPS
    errors = leading + limit + noise
    fit = fit_slope(STEPS, errors, (STEPS**2 + limit) / errors, noise / errors)
    assert math.isnan(fit.slope)
