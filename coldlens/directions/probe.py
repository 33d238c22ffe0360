"""Probe: the normal of a linear classifier between the two answers' activations."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture import Evidence, Needs
from coldlens.checks import above_zero
from coldlens.directions.contrastive import ANSWERS
from coldlens.directions.method import Method
from coldlens.examples.example import ExampleSet
from coldlens.examples.positions import Positions
from coldlens.steering.static import StaticSteering


@dataclass(frozen=True)
class Probe(Method):
    """Weight vector of a logistic regression of Z̄⁺ against Z̄⁻ (scikit-learn), not normalised.

    The activations are centred and divided by one number, their root mean square, so that the
    regularisation means the same at every layer; the weights are given back in the units of the
    activations.

    Attributes:
        C: Inverse strength of the L2 regularisation, on activations of unit root mean square.
        tol: Largest entry of the gradient at which the solver stops.
        max_iter: Bound on the solver's iterations.
    """

    C: float = 1.0
    tol: float = 1e-12
    max_iter: int = 1000
    needs_pairs: ClassVar[bool] = True
    positions: ClassVar[Positions] = "answer"
    scale: ClassVar[str] = "log-odds per unit of activation"

    def __post_init__(self) -> None:
        """Checks the numbers."""
        for name in ("C", "tol", "max_iter"):
            above_zero(name, getattr(self, name))

    def needs(self, examples: ExampleSet) -> Needs:
        """Returns the answer activations of both sides."""
        return ANSWERS

    def solve(self, model: TransformerBridge, evidence: Evidence) -> StaticSteering:
        """Returns the weights of one classifier a layer."""
        vectors = []
        for positive, negative in zip(
            evidence.activations["positive", "answer"],
            evidence.activations["negative", "answer"],
            strict=True,
        ):
            features = torch.cat([positive, negative]).double().cpu().numpy()
            labels = np.repeat([1, 0], len(positive))
            centred = features - features.mean(0)
            scale = float(np.sqrt(np.mean(centred**2))) or 1.0
            # The weights lie in the span of the samples, where there are few coordinates and
            # Newton's method is cheap and exact.
            samples, sizes, axes = np.linalg.svd(centred / scale, full_matrices=False)
            probe = LogisticRegression(
                C=self.C, solver="newton-cholesky", tol=self.tol, max_iter=self.max_iter
            )
            probe.fit(samples * sizes, labels)
            vectors.append(torch.as_tensor(probe.coef_[0] @ axes / scale).to(positive))
        return self.static(model, evidence, torch.stack(vectors))
