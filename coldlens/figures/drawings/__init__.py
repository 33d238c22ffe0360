"""One file a figure: the tables that it reads, how it is drawn, and a sentence that reads it."""

from coldlens.figures.drawing import Drawing
from coldlens.figures.drawings import (
    behaviours,
    benchmark,
    cost,
    direction_cosines,
    effect_and_side_effect,
    epsilon,
    kernel_cost,
    kernel_vs_entk,
    layer_eta,
    layers_and_steps,
    pluralistic,
    sample_efficiency,
    specificity,
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
        behaviours,
        sample_efficiency,
        effect_and_side_effect,
        layer_eta,
        specificity,
        pluralistic,
        cost,
        kernel_cost,
        benchmark,
    )
}
"""Every figure by name, in the order of the index page."""
