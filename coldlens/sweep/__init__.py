"""`sweep`: every method at every layer, eta, size and seed, measured on held-out questions."""

from coldlens.sweep.methods import PAPER, InContext
from coldlens.sweep.presets import PRESETS
from coldlens.sweep.result import SweepResult
from coldlens.sweep.splits import Splits, demo_facts, load_splits
from coldlens.sweep.sweep import sweep

__all__ = [
    "PAPER",
    "PRESETS",
    "InContext",
    "Splits",
    "SweepResult",
    "demo_facts",
    "load_splits",
    "sweep",
]
