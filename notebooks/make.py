"""Makes the .ipynb files: cells from the paired .py files, outputs from running them.

python notebooks/make.py                        # all notebooks
python notebooks/make.py notebooks/01_quickstart.py
"""

import os
import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
SOURCES = sorted(HERE.glob("[0-9][0-9]_*.py"))
SECONDS = 300
"""The longest that a cell may take."""


def executed(source: Path) -> nbformat.NotebookNode:
    """Runs a notebook.

    Args:
        source: The .py file.

    Returns:
        The notebook with its outputs. Cells are numbered and nothing is timed, so that two runs
        differ where the outputs do.
    """
    notebook = jupytext.read(source)
    for place, cell in enumerate(notebook.cells):
        cell.id = f"cell-{place}"
        tags = cell.metadata.get("tags", [])
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if "hide-input" in tags:
            cell.metadata.jupyter = {"source_hidden": True}  # the same, as JupyterLab says it
    client = NotebookClient(notebook, timeout=SECONDS, record_timing=False, coalesce_streams=True)
    client.execute(cwd=str(HERE))
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": notebook.metadata.kernelspec, "language_info": {"name": "python"}}
    )
    return notebook


if __name__ == "__main__":
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # what tqdm says without ipywidgets
    for source in [Path(name) for name in sys.argv[1:]] or SOURCES:
        # Nothing is written where a cell fails.
        nbformat.write(executed(source), source.with_suffix(".ipynb"))
