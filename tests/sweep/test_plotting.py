"""The figures: what is drawn is what is in the tables."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from coldlens.plotting.sweep import (
    plot_grid,
    plot_main_table,
    plot_sample_efficiency,
    plot_scores,
    sweep_figure,
)

INDEX = pd.MultiIndex.from_tuples(
    [("paired", "ColdFD"), ("positive-only", "ColdFD"), ("none", "base")],
    names=["setting", "method"],
)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture
def table():
    columns = {
        "wit": [0.9, 0.7, 0.4],
        "tact": [0.8, np.nan, 0.5],
        "mean": [0.85, 0.7, 0.45],
        "low": [0.8, 0.6, 0.4],
        "high": [0.9, 0.8, 0.5],
        "average_rank": [1.0, 2.0, 3.0],
        "capability_change": [0.0, 0.0, 0.0],
    }
    return pd.DataFrame(columns, index=INDEX)


@pytest.fixture
def curves():
    rows = [
        *(("paired", "ColdFD", n, 0.1 * n, 0.05 * n, 0.2 * n) for n in (2, 4)),
        *(("paired", "DiffMean", n, 0.05 * n, 0.01 * n, 0.1 * n) for n in (2, 4)),
        ("none", "base", 0, 0.3, 0.3, 0.3),
    ]
    names = ["setting", "method", "size", "mean", "lowest", "highest"]
    return pd.DataFrame(rows, columns=names)


@pytest.fixture
def grid():
    columns = pd.Index([0.1, 1.0], name="relative")
    return pd.DataFrame([[0.5, 0.6], [0.7, np.nan]], index=[0, 3], columns=columns)


def test_scores_are_points_with_intervals_and_the_model_is_a_line(table):
    axes = plot_scores(table)
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == ["ColdFD, paired", "ColdFD, positive-only", "base"]
    drawn = [line.get_xdata()[0] for line in axes.get_lines() if line.get_marker() == "o"]
    assert drawn == pytest.approx([0.85, 0.7, 0.45])
    dotted = [line.get_xdata()[0] for line in axes.get_lines() if line.get_linestyle() == ":"]
    assert dotted == pytest.approx([0.45])
    ends = [path.vertices[:, 0].tolist() for c in axes.collections for path in c.get_paths()]
    assert [0.8, 0.9] in ends


def test_heat_maps_print_their_numbers_and_a_dash_for_none(table, grid):
    texts = [text.get_text() for text in plot_main_table(table).texts]
    assert texts == ["0.90", "0.80", "0.70", "–", "0.40", "0.50"]
    axes = plot_grid(grid)
    assert [text.get_text() for text in axes.texts] == ["0.50", "0.60", "0.70", "–"]
    assert axes.get_xlabel() == "relative eta"
    assert [text.get_text() for text in axes.get_yticklabels()] == ["0", "3"]


def test_curves_have_the_means_by_size(curves):
    axes = plot_sample_efficiency(curves)
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert lines["ColdFD"].get_xdata().tolist() == [2, 4]
    assert lines["ColdFD"].get_ydata() == pytest.approx([0.2, 0.4])
    assert lines["base"].get_ydata()[0] == pytest.approx(0.3)


def test_the_figure_has_a_panel_for_what_there_is(table, curves, grid):
    titles = [
        [axes.get_title() for axes in figure.axes if axes.get_title()]
        for figure in (
            sweep_figure(table, None, None, "", "probability", "tiny"),
            sweep_figure(table, curves, grid, "ColdFD", "probability", "tiny"),
        )
    ]
    assert titles[0] == ["Test split, chosen on validation", "By behaviour"]
    assert titles[1][2:] == ["ColdFD, validation split", "Sample efficiency"]
    assert not plt.get_fignums()


def test_given_axes_are_used(table):
    axes = plt.subplots()[1]
    assert plot_scores(table, axes) is axes


def test_a_sweep_draws_itself(whole):
    figure = whole.plot()
    assert len([axes for axes in figure.axes if axes.get_title()]) == 3
    best = next(name for _, name in whole.main_table().index if name not in {"base", "InContext"})
    assert figure.axes[2].get_title().startswith(best)
