"""Analyses of a model as tables, and figures that are drawn from tables alone.

An analysis (`Analysis`) is a frozen dataclass of settings whose `run()` writes tables with a record
of where they came from; tables that are there already are not made again. A figure (`Drawing`)
knows nothing of models. `coldlens.figures` holds the analyses that any model can have; those of the
bundled model and of random ones are scripts in `analyses/` of the repository.
"""

from coldlens.figures.analysis import Analysis, ModelAnalysis
from coldlens.figures.direction_cosines import DirectionCosines
from coldlens.figures.drawing import Drawing
from coldlens.figures.drawings import DRAWINGS
from coldlens.figures.epsilon import Epsilon
from coldlens.figures.gallery import check_index, draw_figures
from coldlens.figures.kernel_vs_entk import KernelVsEntk
from coldlens.figures.unified_perspective import UnifiedPerspective

MODEL_ANALYSES: tuple[type[ModelAnalysis], ...] = (
    KernelVsEntk,
    DirectionCosines,
    UnifiedPerspective,
    Epsilon,
)
"""What `coldlens figures --model --examples` runs."""

__all__ = [
    "DRAWINGS",
    "MODEL_ANALYSES",
    "Analysis",
    "DirectionCosines",
    "Drawing",
    "Epsilon",
    "KernelVsEntk",
    "ModelAnalysis",
    "UnifiedPerspective",
    "check_index",
    "draw_figures",
]
