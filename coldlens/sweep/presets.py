"""Sweeps that have a name."""

from typing import Any

from coldlens.losses import DPO, CrossEntropy
from coldlens.sweep.methods import PAPER

PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"methods": PAPER, "sizes": (50,), "seeds": (0,)},
    "paper": {
        "methods": PAPER,
        "sizes": (50,),
        "seeds": (0, 1, 2),
        "losses": {"paired": DPO(), "positive-only": CrossEntropy()},
    },
    "curve": {
        "methods": ("DiffMean", "ReFTVector", "InContext", "ColdKernel", "ColdFD", "Random"),
        "sizes": (2, 5, 10, 20, 50, 200),
        "seeds": (0, 1, 2),
    },
}
"""Arguments of `sweep` by name."""
