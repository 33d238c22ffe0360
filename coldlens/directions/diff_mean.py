"""DiffMean, the direction of Contrastive Activation Addition."""

from dataclasses import dataclass
from typing import ClassVar

from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture import Evidence, Needs
from coldlens.directions.contrastive import ANSWERS, differences
from coldlens.directions.method import Method
from coldlens.examples.example import ExampleSet
from coldlens.examples.positions import Positions
from coldlens.steering.static import StaticSteering


@dataclass(frozen=True)
class DiffMean(Method):
    """(1/N) Σᵢ Z̄_l(xᵢ⊕yᵢ⁺) − Z̄_l(xᵢ⊕yᵢ⁻), Z̄ the mean over the answer tokens.

    Source: Rimsky et al. 2024, "Steering Llama 2 via Contrastive Activation Addition",
    section 3; not normalised.
    """

    needs_pairs: ClassVar[bool] = True
    positions: ClassVar[Positions] = "answer"

    def needs(self, examples: ExampleSet) -> Needs:
        """Returns the answer activations of both sides."""
        return ANSWERS

    def solve(self, model: TransformerBridge, evidence: Evidence) -> StaticSteering:
        """Returns the mean difference."""
        samples = differences(evidence)
        return self.static(model, evidence, samples.mean(1), samples=samples)
