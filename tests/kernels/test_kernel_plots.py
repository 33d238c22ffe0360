"""The figures of a kernel agreement: what is drawn is what is in the tables."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from coldlens.agreement.ladder import RUNGS
from coldlens.plotting.kernels import (
    kernel_figure,
    plot_alignment,
    plot_ladder,
    plot_positions,
    plot_spectra,
)
from coldlens.plotting.style import RUNG_LOOKS, layer_looks

LAYERS = range(3)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture
def table():
    rows = [
        (k, q, e, q == e, 0.1 * k + 0.01 * e) for k in LAYERS for q in range(2) for e in range(3)
    ]
    return pd.DataFrame(rows, columns=["layer", "query", "example", "same_prompt", "alignment"])


@pytest.fixture
def ladder():
    rows = [
        (k, q, rung, 1 - 0.1 * place - 0.02 * q)
        for k in LAYERS
        for q in range(2)
        for place, rung in enumerate(RUNGS)
    ]
    return pd.DataFrame(rows, columns=["layer", "query", "rung", "cosine"])


@pytest.fixture
def spectra():
    rows = [(k, q, r, s) for k in LAYERS for q in range(2) for r, s in ((1, 0.8), (2, 0.2))]
    return pd.DataFrame(rows, columns=["layer", "query", "rank", "eigenvalue_share"])


@pytest.fixture
def positions():
    places = np.arange(-369, 3)
    side = np.where(places <= 0, "prompt", "positive")
    parts = [
        pd.DataFrame(
            {
                "layer": k,
                "query": q,
                "example": 0,
                "side": side,
                "position": places,
                "share": 1 / 372,
            }
        )
        for k in LAYERS
        for q in range(2)
    ]
    return pd.concat(parts, ignore_index=True)


def lines_of(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def test_each_rung_is_a_line_of_its_mean_over_queries(ladder):
    lines = lines_of(plot_ladder(ladder))
    assert lines["full"].get_ydata() == pytest.approx([0.99] * 3)
    assert lines["last position"].get_ydata() == pytest.approx([0.89] * 3)
    assert list(RUNG_LOOKS) == list(RUNGS)


def test_the_spread_over_pairs_is_drawn(table):
    axes = plot_alignment(table)
    drawn = {bar.get_label(): bar.lines[0].get_ydata() for bar in axes.containers}
    different = table[~table.same_prompt].groupby("layer").alignment.median()
    assert drawn["two prompts"] == pytest.approx(different.to_numpy())
    without = plot_alignment(table[~table.same_prompt])
    assert [bar.get_label() for bar in without.containers] == ["two prompts"]


def test_spectra_are_means_over_queries(spectra):
    lines = lines_of(plot_spectra(spectra))
    assert lines["layer 1"].get_ydata() == pytest.approx([0.8, 0.2])
    assert lines["identity"].get_ydata() == pytest.approx([0.5, 0.5])


def test_far_tokens_are_summed_up_so_that_all_shares_are_drawn(positions):
    axes = plot_positions(positions)
    line = lines_of(axes)["layer 0"]
    assert list(line.get_xdata()) == list(range(-13, 3))
    assert line.get_ydata()[0] == pytest.approx(357 / 372)
    assert sum(line.get_ydata()) == pytest.approx(1)
    assert axes.get_xticklabels()[0].get_text() == "all\nbefore"


def test_many_layers_have_a_few_names(table):
    named = [look["label"] for look in layer_looks(list(range(32))).values()]
    assert [name for name in named if name != "_"][::5] == ["layer 0", "layer 31"]
    assert list(layer_looks([7])) == [7]


@pytest.mark.parametrize("layers", [[0, 1, 2], [1]])
def test_the_figure_leaves_no_trace_in_pyplot(table, ladder, spectra, positions, layers):
    before = dict(mpl.rcParams)
    chosen = [one[one.layer.isin(layers)] for one in (table, ladder, spectra, positions)]
    figure = kernel_figure(*chosen, "title")
    assert len(figure.axes) == 4
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


def test_given_axes_are_used(ladder):
    axes = plt.subplots()[1]
    assert plot_ladder(ladder, ax=axes) is axes
