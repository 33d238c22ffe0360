"""The notebooks and the pages of the documentation, as files."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.py"))


@pytest.fixture(params=SOURCES, ids=lambda source: source.stem)
def source(request) -> Path:
    """Every notebook's .py file."""
    return request.param


@pytest.fixture(scope="session")
def docs() -> Path:
    """The folder of the documentation."""
    return ROOT / "docs"
