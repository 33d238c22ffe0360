"""The figures: what is drawn is what is in the tables."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from coldlens.plotting.directions import direction_figure, plot_cosine_by_layer, plot_method_matrix
from coldlens.plotting.style import looks

METHODS = ["DiffMean", "ColdKernel", "ColdKernel(all)", "ColdJVP"]


@pytest.fixture
def table():
    rows = [(layer, method, 0.1 * layer) for method in METHODS for layer in range(3)]
    return pd.DataFrame(rows, columns=["layer", "method", "cosine_to_ColdJVP"])


@pytest.fixture
def cosines():
    values = np.eye(4)
    values[0, 1] = np.nan
    return pd.DataFrame(values, METHODS, METHODS)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_lines_have_the_numbers_of_the_table(table):
    axes = plot_cosine_by_layer(table)
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert set(METHODS) <= set(lines)
    assert lines["DiffMean"].get_ydata() == pytest.approx([0, 0.1, 0.2])
    assert "layer" in axes.get_xlabel()


def test_a_method_without_a_cosine_is_left_out(table):
    table.loc[table.method == "ColdKernel", "cosine_to_ColdJVP"] = np.nan
    labels = [line.get_label() for line in plot_cosine_by_layer(table).get_lines()]
    assert "ColdKernel" not in labels


def test_matrix_prints_each_cosine_and_a_dash_for_none(cosines):
    axes = plot_method_matrix(cosines)
    assert [text.get_text() for text in axes.texts[:3]] == ["1.00", "–", "0.00"]


def test_a_family_keeps_its_colour_and_variants_differ():
    chosen = looks(METHODS)
    assert chosen["ColdKernel"]["color"] == chosen["ColdKernel(all)"]["color"]
    assert chosen["ColdKernel"]["linestyle"] != chosen["ColdKernel(all)"]["linestyle"]
    assert looks(METHODS[::-1])["DiffMean"]["color"] == chosen["DiffMean"]["color"]


def test_figures_leave_no_trace_in_pyplot(table, cosines):
    before = dict(mpl.rcParams)
    figure = direction_figure(table, cosines, 1, "title")
    assert len(figure.axes) == 3
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


def test_given_axes_are_used(table):
    axes = plt.subplots()[1]
    assert plot_cosine_by_layer(table, ax=axes) is axes
