"""Every figure of a folder of tables, and the page that shows them."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coldlens.errors import DataError
from coldlens.figures.drawing import Drawing, written
from coldlens.figures.drawings import DRAWINGS
from coldlens.figures.record import Tables
from coldlens.files import check_writable, whole_file
from coldlens.results import loaded

logger = logging.getLogger(__name__)

INDEX = "README.md"
_FIRST_LINE = "<!-- Written by `coldlens figures` from the tables. -->"


@dataclass(frozen=True)
class Entry:
    """One figure that can be drawn.

    Attributes:
        subject: Name of the model.
        drawing: The figure.
        folder: The folder of its tables.
    """

    subject: str
    drawing: Drawing
    folder: Path

    def read(self) -> tuple[Tables, dict[str, Any]]:
        """Returns the tables, and where they came from."""
        return loaded(self.folder, self.drawing.kind)


def draw_figures(tables: Path, out: Path) -> list[Path]:
    """Draws every figure for which there are tables; nothing is measured.

    Args:
        tables: Folder with a folder a model, and in that one an analysis.
        out: Where figures go, in a folder a model, and an index page beside them.

    Returns:
        The files that were written.
    """
    check_index(out)
    entries = found(tables)
    page = index_page(entries, out)
    paths: list[Path] = []
    for entry in entries:
        figure = entry.drawing.draw(entry.read()[0])
        paths += written(figure, out / entry.subject, entry.drawing.name)
    with whole_file(out / INDEX) as part:
        part.write_text(page)
    return [*paths, out / INDEX]


def found(tables: Path) -> list[Entry]:
    """Finds the tables of known figures.

    Args:
        tables: Folder with a folder a model, and in that one an analysis.

    Returns:
        The figures, by model and in the order of `DRAWINGS`.

    Raises:
        DataError: If there are none.
    """
    models = sorted(path for path in tables.glob("*") if path.is_dir())
    entries = [
        Entry(model.name, drawing, model / name)
        for model in models
        for name, drawing in DRAWINGS.items()
        if (model / name).is_dir()
    ]
    for folder in sorted(path for model in models for path in model.iterdir() if path.is_dir()):
        if folder.name not in DRAWINGS:
            logger.warning("%s: no figure of that name", folder)
    if not entries:
        raise DataError(
            expected=f"tables in {tables}, as MODEL/ANALYSIS with ANALYSIS among "
            + ", ".join(DRAWINGS),
            found="none",
            fix="Name another folder, or measure a model with --model and --examples",
        )
    return entries


def check_index(out: Path) -> None:
    """Checks that the index page can be written and replaces none that was written otherwise.

    Args:
        out: Where figures go.

    Raises:
        DataError: If it cannot, or would.
    """
    page = out / INDEX
    check_writable(page)
    if page.exists() and not page.read_text(errors="replace").startswith(_FIRST_LINE):
        raise DataError(
            expected=f"no {INDEX}, or one that coldlens wrote",
            found=f"another one: {page}",
            fix="Choose another folder",
        )


def index_page(entries: list[Entry], out: Path) -> str:
    """Writes the page: each figure with one sentence of reading and where its numbers are from.

    Args:
        entries: The figures.
        out: The folder of the page, for links.

    Returns:
        Markdown.
    """
    parts = [f"{_FIRST_LINE}\n# Figures\n"]
    for place, entry in enumerate(entries):
        if place == 0 or entries[place - 1].subject != entry.subject:
            parts.append(f"## {entry.subject}\n")
        tables, about = entry.read()
        name = entry.drawing.name
        link = Path(os.path.relpath(entry.folder, out)).as_posix()
        parts += [
            f"### {entry.drawing.title}\n",
            f"![{entry.drawing.title}]({entry.subject}/{name}.png)\n",
            f"{entry.drawing.reading(tables)}\n",
            f"{_origin(about)} · [tables]({link}) · [PDF]({entry.subject}/{name}.pdf)\n",
        ]
    return "\n".join(parts)


def _origin(about: dict[str, Any]) -> str:
    data = f", {about['data']}" if "data" in about else ""
    quick = ", quick settings: few examples" if about["settings"].get("quick") else ""
    return f"`{about['analysis']}`{data}{quick}, {about['date'][:10]}"
