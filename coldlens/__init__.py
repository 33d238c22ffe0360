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
    ExampleTypeError,
    ModelError,
    ModelTypeError,
    NumericsError,
    SteeringError,
)
from coldlens.examples.batch import Batch
from coldlens.examples.example import Example, ExampleSet, TokenPolicy
from coldlens.examples.positions import show_positions
from coldlens.examples.tokens import BoundaryWarning
from coldlens.losses import (
    DPO,
    ContrastiveSquaredError,
    CrossEntropy,
    NegativeCrossEntropy,
    completion_log_probs,
)
from coldlens.models.load import load_model
from coldlens.steering.static import StaticSteering
from coldlens.steering.steering import Steering

__version__ = "0.1.0"

__all__ = [
    "DPO",
    "ICV",
    "METHODS",
    "ArgumentError",
    "Batch",
    "BoundaryWarning",
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
    "ExampleTypeError",
    "FineTune",
    "Method",
    "ModelError",
    "ModelTypeError",
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
    "completion_log_probs",
    "load_examples",
    "load_model",
    "show_positions",
]
