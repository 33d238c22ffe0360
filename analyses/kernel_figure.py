"""Figure of the cost of kernel blocks."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from coldlens.plotting.style import styled

LOOKS = {
    "dense": {"color": "#d55e00", "marker": "s", "label": "dense Jacobians"},
    "products": {"color": "#0072b2", "marker": "o", "label": "products, row by row"},
}
AXES = {"d": "width d", "layers": "layers L", "tokens": "tokens T", "examples": "examples N"}
RATIOS = {
    "ratio_to_structured": "time / structured",
    "peak_ratio_to_structured": "peak memory / structured",
}


def plot_kernel_cost(lines: pd.DataFrame) -> Figure:
    """Draws time and peak memory in units of those of structured derivatives.

    Args:
        lines: Measurements with `axis` and `size`, where only that size changes.

    Returns:
        The figure: a row for time and one for memory, a column an axis.
    """
    axes = list(dict.fromkeys(lines["axis"]))
    with styled():
        figure, grid = plt.subplots(
            len(RATIOS), len(axes), figsize=(7, 3.8), sharex="col", sharey="row", squeeze=False
        )
        for panels, (column, label) in zip(grid, RATIOS.items(), strict=True):
            panels[0].set_ylabel(label)
            for panel, axis in zip(panels, axes, strict=True):
                part = lines[lines["axis"] == axis]
                for method, looks in LOOKS.items():
                    rows = part[part.method == method]
                    panel.plot(rows["size"], rows[column], **looks)
                panel.axhline(1, color="0.4", linewidth=0.8)
                panel.set(xscale="log", yscale="log")
                panel.xaxis.set_major_locator(FixedLocator(sorted(set(part["size"]))))
                panel.xaxis.set_major_formatter(ScalarFormatter())
                panel.xaxis.set_minor_locator(NullLocator())
        for panel, axis in zip(grid[-1], axes, strict=True):
            panel.set_xlabel(AXES[axis])
        grid[0, -1].legend(loc="center right")
        plt.close(figure)
    return figure
