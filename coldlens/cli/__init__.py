"""The command line: one file a command."""

from coldlens.cli.main import main

__all__ = ["main"]
