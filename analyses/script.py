"""An analysis as a command: `python -m analyses.NAME`."""

import logging

import tyro

from coldlens.figures.analysis import Analysis


def script(analysis: type[Analysis]) -> None:
    """Reads the settings from the command line, and runs.

    Args:
        analysis: The analysis.
    """
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("coldlens").setLevel(logging.INFO)
    tyro.cli(analysis).run()
