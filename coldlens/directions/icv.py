"""ICV: one principal component over all layers together."""

from dataclasses import dataclass
from typing import ClassVar

from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture import Evidence, Needs
from coldlens.directions.contrastive import ANSWERS, differences
from coldlens.directions.method import Method
from coldlens.directions.rep_e import principal
from coldlens.examples.example import ExampleSet
from coldlens.examples.positions import Positions
from coldlens.steering.static import StaticSteering


@dataclass(frozen=True)
class ICV(Method):
    """First principal component of the differences concatenated over layers, split per layer.

    Source: Liu et al. 2024, "In-context Vectors", section 3.2. The concatenated vector has norm 1
    and the layers that were fitted share it, so it depends on which layers those are.

    Attributes:
        center: Whether the mean difference is subtracted first.
    """

    center: bool = True
    needs_pairs: ClassVar[bool] = True
    positions: ClassVar[Positions] = "answer"
    scale: ClassVar[str] = "norm 1 over all fitted layers together"

    def needs(self, examples: ExampleSet) -> Needs:
        """Returns the answer activations of both sides."""
        return ANSWERS

    def solve(self, model: TransformerBridge, evidence: Evidence) -> StaticSteering:
        """Returns the component of all layers at once."""
        samples = differences(evidence)
        layers, count, width = samples.shape
        joined = samples.transpose(0, 1).reshape(count, layers * width)
        vectors = principal(joined, center=self.center).reshape(layers, width)
        return self.static(model, evidence, vectors, samples=samples)
