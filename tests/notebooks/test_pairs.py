"""The .ipynb files show what the .py files say; `pytest --nbmake notebooks` runs them."""

import jupytext
import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from notebooks.make import executed

LARGEST = 600_000
"""Bytes of a notebook with its figures."""
MACHINE = ("/tmp", "/home/", "/root/", "/work/", "site-packages")
"""What would show in an output where the notebook was made."""


@pytest.fixture
def notebook(source):
    return nbformat.read(source.with_suffix(".ipynb"), as_version=4)


def _content(notebook) -> list[tuple]:
    return [
        (cell.cell_type, cell.source.strip(), tuple(cell.metadata.get("tags", ())))
        for cell in notebook.cells
    ]


def test_cells_are_those_of_the_source(source, notebook):
    assert _content(notebook) == _content(jupytext.read(source)), (
        f"run python notebooks/make.py notebooks/{source.name}"
    )


def test_every_cell_ran_once_in_order_without_an_error(notebook):
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [o for cell in cells for o in cell.outputs if o.output_type == "error"]


def test_it_is_small_and_says_nothing_of_the_machine(source, notebook):
    assert source.with_suffix(".ipynb").stat().st_size < LARGEST
    shown = [
        output.get("text", "")
        + str({k: v for k, v in output.get("data", {}).items() if "image" not in k})
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    ]
    assert not [(word, text) for word in MACHINE for text in shown if word in text]


def test_it_is_numbered_and_has_one_title(source, notebook):
    titles = [
        line
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("# ")
    ]
    assert len(titles) == 1
    assert titles[0].startswith(f"# {int(source.name[:2])}. ")


def test_code_that_writes_a_sentence_is_folded_and_checked(notebook):
    written = [c for c in notebook.cells if c.cell_type == "code" and "Markdown(\n" in c.source]
    assert written
    for cell in written:
        assert "hide-input" in cell.metadata.get("tags", ())


def test_a_claim_that_does_not_hold_stops_the_notebook(tmp_path):
    source = tmp_path / "00_wrong.py"
    source.write_text(
        "# ---\n# jupyter:\n#   kernelspec:\n#     display_name: Python 3\n#     name: python3\n"
        "# ---\n\n# %%\nassert 1 > 2\n"
    )
    with pytest.raises(CellExecutionError, match="AssertionError"):
        executed(source)
