"""What steering gains and what it costs elsewhere, question by question."""

from coldlens.evaluation.evaluate import evaluate
from coldlens.evaluation.evaluation import Evaluation
from coldlens.evaluation.generation import Generation
from coldlens.evaluation.metrics import METRICS, Metric
from coldlens.evaluation.specificity import Specificity, specificity

__all__ = [
    "METRICS",
    "Evaluation",
    "Generation",
    "Metric",
    "Specificity",
    "evaluate",
    "specificity",
]
