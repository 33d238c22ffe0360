"""One figure: the tables that it reads, how it is drawn, and how it is written twice the same."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from coldlens.files import whole_file
from coldlens.results import ResultKind

ONE_COLUMN, TWO_COLUMNS = 3.25, 6.75
"""Widths in inches."""
SUFFIXES = (".pdf", ".png")
_DATED = {".pdf": {"CreationDate": None}, ".png": {"Software": None}}
"""What would differ from run to run or from machine to machine."""


@dataclass(frozen=True)
class Drawing:
    """A figure of the tables of one analysis.

    Attributes:
        name: Name of the analysis, and of the files.
        title: The heading in the index.
        tables: Columns that must be there, by table.
        draw: From the tables to the figure.
        reading: From the tables to one sentence that says what the figure shows, with numbers.
    """

    name: str
    title: str
    tables: Mapping[str, Sequence[str]]
    draw: Callable[[Mapping[str, pd.DataFrame]], Figure]
    reading: Callable[[Mapping[str, pd.DataFrame]], str]

    @property
    def kind(self) -> ResultKind:
        """What the saved tables look like."""
        return ResultKind(self.name, f"coldlens-{self.name}-1", self.tables)


def written(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Writes a figure at its printed size as PDF and PNG, byte for byte the same each time.

    Args:
        figure: The figure.
        folder: Where it goes.
        name: Name of the files, without suffix.

    Returns:
        The paths.
    """
    paths = [folder / f"{name}{suffix}" for suffix in SUFFIXES]
    with mpl.rc_context({"savefig.bbox": "standard", "savefig.dpi": 200}):
        for path in paths:
            with whole_file(path) as part:
                metadata = _DATED[path.suffix]
                figure.savefig(part, format=path.suffix[1:], metadata=metadata)
    return paths
