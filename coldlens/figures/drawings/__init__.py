"""One file a figure: the tables that it reads, how it is drawn, and a sentence that reads it."""

from coldlens.figures.drawing import Drawing
from coldlens.figures.drawings import (
    cost,
    direction_cosines,
    epsilon,
    kernel_cost,
    kernel_vs_entk,
    layers_and_steps,
    pluralistic,
    unified_perspective,
)

DRAWINGS: dict[str, Drawing] = {
    module.DRAWING.name: module.DRAWING
    for module in (
        kernel_vs_entk,
        direction_cosines,
        unified_perspective,
        epsilon,
        layers_and_steps,
        pluralistic,
        cost,
        kernel_cost,
    )
}
"""Every figure by name, in the order of the index page."""
