"""One self-contained HTML page of results: directions, kernel, checks and steering."""

from coldlens.page.measure import measure_steering
from coldlens.page.write import check_page, write

__all__ = ["check_page", "measure_steering", "write"]
