"""One look for all figures: the style sheet, and the same colour for the same method."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from importlib.resources import files
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

COLORS = {
    "ColdJVP": "#000000",
    "ColdFD": "#d55e00",
    "FineTune": "#e69f00",
    "ColdKernel": "#0072b2",
    "DiffMean": "#009e73",
    "RepE": "#cc79a7",
    "ICV": "#56b4e9",
    "Probe": "#8c6d31",
    "ReFTVector": "#56b4e9",
    "ReFTMLP": "#0072b2",
    "BiPO": "#cc79a7",
    "LoRA": "#e69f00",
    "InContext": "#8c6d31",
    "Random": "#999999",
}
"""Colour by method family (Okabe and Ito's colour-blind safe set, and two neutral ones). Where two
families share a colour their markers differ."""

_DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
_MARKERS = {
    "ColdFD": "s",
    "FineTune": "x",
    "ColdKernel": "o",
    "DiffMean": "D",
    "RepE": "^",
    "ICV": "v",
    "Probe": "P",
    "ReFTVector": "<",
    "ReFTMLP": ">",
    "BiPO": "h",
    "LoRA": "1",
    "InContext": "X",
    "Random": ".",
}

PRECISIONS: dict[str, dict[str, Any]] = {
    "bfloat16": {"color": "#cc79a7", "marker": "^", "linestyle": ":"},
    "float32": {"color": "#e69f00", "marker": "s", "linestyle": "--"},
    "float64": {"color": "#0072b2", "marker": "o", "linestyle": "-"},
}
"""Keyword arguments of `Axes.plot` by dtype."""

RUNG_LOOKS: dict[str, dict[str, Any]] = {
    "full": {"color": "#000000", "marker": "o", "markersize": 7, "linewidth": 5, "alpha": 0.25},
    "last_position": {"color": "#d55e00", "marker": "s", "linestyle": "--"},
    "scalar": {"color": "#009e73", "marker": "D", "linestyle": "-.", "markerfacecolor": "none"},
    "constant": {"color": "#0072b2", "marker": "o", "linestyle": "-"},
}
"""Keyword arguments of `Axes.plot` by rung; the last has the colour of ColdKernel."""


def styled() -> AbstractContextManager[None]:
    """Returns a context in which matplotlib uses the project's style sheet."""
    return plt.style.context(str(files("coldlens.plotting") / "coldlens.mplstyle"))


def looks(methods: list[str]) -> dict[str, dict[str, object]]:
    """Gives each method a colour and marker by family, and a dash by variant within it.

    Args:
        methods: Labels such as `"ColdKernel(answer)"`.

    Returns:
        Keyword arguments of `Axes.plot` by label.
    """
    seen: dict[str, int] = {}
    chosen = {}
    for method in methods:
        family = method.split("(")[0]
        variant = seen.setdefault(family, 0)
        seen[family] += 1
        chosen[method] = {
            "color": COLORS.get(family, "#666666"),
            "linestyle": _DASHES[variant % len(_DASHES)],
            "marker": _MARKERS.get(family, "o"),
            "markerfacecolor": "none",
            "markersize": 7 if family in {"ColdFD", "RepE", "DiffMean"} else 4,
        }
        if family == "ColdJVP":
            chosen[method] |= {"linewidth": 5, "alpha": 0.25, "marker": "", "zorder": 1}
    return chosen


def layer_looks(layers: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Gives each layer a colour, from dark for the first to light for the last, and some a label.

    Args:
        layers: The layers, ascending.

    Returns:
        Keyword arguments of `Axes.plot` by layer; up to six layers are named in a legend.
    """
    shades = np.linspace(0.0, 0.85, len(layers)) if len(layers) > 1 else [0.4]
    named = {layers[int(place)] for place in np.linspace(0, len(layers) - 1, 6)}
    return {
        layer: {
            "color": plt.colormaps["viridis"](shade),
            "label": f"layer {layer}" if layer in named else "_",
        }
        for layer, shade in zip(layers, shades, strict=True)
    }
