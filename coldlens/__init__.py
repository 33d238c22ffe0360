"""coldlens compares steering directions with the exact one-step displacement of fine-tuning.

The public names are those of `__all__`; everything else may move.
"""

from coldlens.compare.compare import compare_directions
from coldlens.compare.report import DirectionReport
from coldlens.datasets import load_examples
from coldlens.directions import (
    ICV,
    METHODS,
    ColdFD,
    ColdJVP,
    ColdKernel,
    DiffMean,
    FineTune,
    Method,
    Probe,
    Random,
    RepE,
)
from coldlens.errors import (
    ArgumentError,
    ColdlensError,
    DataError,
    ExampleError,
    ModelError,
    NumericsError,
    SteeringError,
)
from coldlens.examples.example import Example, ExampleSet, TokenPolicy
from coldlens.examples.positions import show_positions
from coldlens.losses import DPO, ContrastiveSquaredError, CrossEntropy, NegativeCrossEntropy
from coldlens.models.load import load_model
from coldlens.steering.static import StaticSteering
from coldlens.steering.steering import Steering

__version__ = "0.1.0"

__all__ = [
    "DPO",
    "ICV",
    "METHODS",
    "ArgumentError",
    "ColdFD",
    "ColdJVP",
    "ColdKernel",
    "ColdlensError",
    "ContrastiveSquaredError",
    "CrossEntropy",
    "DataError",
    "DiffMean",
    "DirectionReport",
    "Example",
    "ExampleError",
    "ExampleSet",
    "FineTune",
    "Method",
    "ModelError",
    "NegativeCrossEntropy",
    "NumericsError",
    "Probe",
    "Random",
    "RepE",
    "StaticSteering",
    "Steering",
    "SteeringError",
    "TokenPolicy",
    "compare_directions",
    "load_examples",
    "load_model",
    "show_positions",
]
