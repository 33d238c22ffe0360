"""Data sets of behaviours: the demo world, CAA, BiPO, and a user's own files."""

from coldlens.datasets.load import load_examples

__all__ = ["load_examples"]
