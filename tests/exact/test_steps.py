"""The ladder of the automatic step, on errors that are known."""

import pytest
import torch

from coldlens.directions.epsilon import FACTOR, _best, _search
from coldlens.errors import NumericsError
from coldlens.examples.batch import PILOT_PROMPTS, pilot


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("start", [1.0, 0.3, 0.1])
def test_the_best_step_is_found_from_what_neighbours_differ_by(order, start):
    curve, noise = 0.2, 1e-6
    steps = [start / FACTOR**place for place in range(12)]
    gaps = [
        (
            (curve * (step**order - (step / FACTOR) ** order)) ** 2
            + (1 + FACTOR**2) * (noise / step) ** 2
        )
        ** 0.5
        for step in steps
    ]
    stop = next(i for i, gap in enumerate(gaps) if i and gap > 4 * min(gaps[:i]))
    found, error = _best(start, gaps[: stop + 1], order)
    best = (noise / (curve * order**0.5)) ** (1 / (order + 1))
    expected = ((curve * best**order) ** 2 + (noise / best) ** 2) ** 0.5
    assert 0.8 < found / best < 1.25
    assert 0.9 < error / expected < 1.1


def test_the_pilot_reads_few_tokens():
    assert pilot([(1,) * 100] * 3) == [(1,) * 64]
    assert pilot([(1,) * 30] * 9) == [(1,) * 30, (1,) * 30, (1,) * 4]
    assert pilot([(1, 2, 3)]) == [(1, 2, 3)]
    assert len(pilot([(1, 2)] * 50)) == PILOT_PROMPTS


def moving(step):
    return 1.0 + step * torch.ones(3, 3) + step**2


def test_a_layer_that_does_not_move_has_no_say():
    alone, error = _search(lambda step: [moving(step)], "forward", 1e-3, 6e-8)
    still = torch.full((1, 3), 5.0)
    both, half = _search(lambda step: [still, moving(step)], "forward", 1e-3, 6e-8)
    assert both == pytest.approx(alone)
    assert half == pytest.approx(error / 2)


def test_estimates_that_are_not_finite_are_an_error():
    """At the second step one layer does not move any more, so that its estimate is zero."""

    def at(step):
        return [torch.full((1, 3), 5.0 + (step > 5e-4)), moving(step)]

    with pytest.raises(NumericsError, match="finite differences of the residual stream"):
        _search(at, "forward", 1e-3, 6e-8)
