"""Figures of the committed tables: from tables alone, at the printed size, twice the same."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from coldlens.errors import DataError
from coldlens.figures.drawing import ONE_COLUMN, TWO_COLUMNS, written
from coldlens.figures.drawings import DRAWINGS
from coldlens.figures.gallery import INDEX, draw_figures, found

ROOT = Path(__file__).parents[2]
TABLES = ROOT / "figures" / "tables"
ENTRIES = found(TABLES)
ALLOWED = (
    "collections.abc",
    "typing",
    "matplotlib",
    "numpy",
    "pandas",
    "coldlens.figures.drawing",
    "coldlens.plotting",
)


def name_of(entry):
    return f"{entry.subject}-{entry.drawing.name}"


@pytest.fixture(params=ENTRIES, ids=name_of, scope="module")
def figure(request):
    entry = request.param
    drawn = entry.drawing.draw(entry.read()[0])
    yield drawn
    plt.close(drawn)


def test_every_drawing_has_committed_tables():
    assert {entry.drawing.name for entry in ENTRIES} == set(DRAWINGS)


def test_figures_are_drawn_at_a_column_width(figure):
    assert figure.get_size_inches()[0] in (ONE_COLUMN, TWO_COLUMNS)


def test_nothing_is_cut_and_texts_are_readable(figure):
    figure.draw_without_rendering()
    inked = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert -0.01 <= inked.x0 <= inked.x1 <= width + 0.01
    assert -0.01 <= inked.y0 <= inked.y1 <= height + 0.01
    texts = [text for text in figure.findobj(plt.Text) if text.get_text()]
    assert min(text.get_fontsize() for text in texts) >= 6


def test_every_row_and_column_of_panels_is_labelled(figure):
    panels = [axes for axes in figure.get_axes() if axes.get_label() != "<colorbar>"]
    for axes in panels:
        beside = [
            other
            for other in panels
            if other is axes or axes.get_shared_x_axes().joined(axes, other)
        ]
        ticks = any(label.get_text() for label in axes.get_xticklabels())
        assert ticks or figure.get_supxlabel() or any(other.get_xlabel() for other in beside)
        assert axes.get_title() or any(other.get_ylabel() for other in panels)


@pytest.mark.parametrize("path", sorted((ROOT / "coldlens/figures/drawings").glob("*.py")), ids=str)
def test_drawings_can_only_read_tables(path):
    modules = {
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert all(str(module).startswith(ALLOWED) for module in modules), modules


def test_figures_are_the_same_byte_for_byte_in_another_process(tmp_path):
    entry = next(entry for entry in ENTRIES if entry.drawing.name == "epsilon")
    here = written(entry.drawing.draw(entry.read()[0]), tmp_path / "here", "figure")
    code = (
        "import sys; from pathlib import Path; from coldlens.figures.gallery import found;"
        "from coldlens.figures.drawing import written;"
        f"e = [e for e in found(Path({str(TABLES)!r})) if e.drawing.name == 'epsilon'][0];"
        "written(e.drawing.draw(e.read()[0]), Path(sys.argv[1]), 'figure')"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "there")],
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "7"},
    )
    for path in here:
        assert path.read_bytes() == (tmp_path / "there" / path.name).read_bytes(), path.suffix
        assert b"D:20" not in path.read_bytes()


def test_the_index_replaces_no_page_of_somebody_else(tmp_path):
    (tmp_path / INDEX).write_text("# My project\n")
    with pytest.raises(DataError, match="another one"):
        draw_figures(TABLES, tmp_path)
    assert (tmp_path / INDEX).read_text() == "# My project\n"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_without_tables_is_an_error(tmp_path):
    with pytest.raises(DataError, match="MODEL/ANALYSIS"):
        draw_figures(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
