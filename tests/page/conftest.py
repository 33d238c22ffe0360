"""Results, and their page."""

from pathlib import Path

import pytest
from page.pages import Page, Results, make_results


@pytest.fixture(scope="session")
def results() -> Results:
    return make_results()


@pytest.fixture(scope="session")
def written(results, tmp_path_factory) -> Path:
    return results.write(tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture
def page(written) -> Page:
    return Page(written.read_text(encoding="utf-8"))
