"""coldlens compares steering directions with the exact one-step displacement of fine-tuning.

The public names are those of `__all__`; everything else may move.
"""

from coldlens.agreement.agreement import kernel_agreement
from coldlens.agreement.report import KernelAgreement
from coldlens.compare.compare import compare_directions
from coldlens.compare.report import DirectionReport
from coldlens.datasets import load_examples, load_prompts
from coldlens.directions import (
    ICV,
    METHODS,
    BiPO,
    ColdFD,
    ColdJVP,
    ColdKernel,
    DiffMean,
    FineTune,
    LoRA,
    Method,
    Probe,
    Random,
    ReFTMLP,
    ReFTVector,
    RepE,
)
from coldlens.equivalence.report import Equivalences
from coldlens.equivalence.verify import verify_equivalences
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
from coldlens.evaluation import METRICS, Evaluation, Generation, Metric, evaluate
from coldlens.examples.batch import Batch
from coldlens.examples.example import Example, ExampleSet, TokenPolicy
from coldlens.examples.in_context import in_context
from coldlens.examples.positions import show_positions
from coldlens.examples.tokens import BoundaryWarning
from coldlens.kernels.ntk import EmpiricalNTK
from coldlens.losses import (
    DPO,
    ContrastiveSquaredError,
    CrossEntropy,
    NegativeCrossEntropy,
    OptionDistribution,
    completion_log_probs,
    option_log_probs,
)
from coldlens.models.load import load_model
from coldlens.steering.static import StaticSteering
from coldlens.steering.steering import Steering

__version__ = "0.1.0"

__all__ = [
    "DPO",
    "ICV",
    "METHODS",
    "METRICS",
    "ArgumentError",
    "Batch",
    "BiPO",
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
    "EmpiricalNTK",
    "Equivalences",
    "Evaluation",
    "Example",
    "ExampleError",
    "ExampleSet",
    "ExampleTypeError",
    "FineTune",
    "Generation",
    "KernelAgreement",
    "LoRA",
    "Method",
    "Metric",
    "ModelError",
    "ModelTypeError",
    "NegativeCrossEntropy",
    "NumericsError",
    "OptionDistribution",
    "Probe",
    "Random",
    "ReFTMLP",
    "ReFTVector",
    "RepE",
    "StaticSteering",
    "Steering",
    "SteeringError",
    "TokenPolicy",
    "compare_directions",
    "completion_log_probs",
    "evaluate",
    "in_context",
    "kernel_agreement",
    "load_examples",
    "load_model",
    "load_prompts",
    "option_log_probs",
    "show_positions",
    "verify_equivalences",
]
