"""Random: the control that every comparison needs."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture import Evidence, Needs
from coldlens.checks import at_least
from coldlens.directions.cold_kernel import ColdKernel
from coldlens.directions.method import Method
from coldlens.examples.example import ExampleSet
from coldlens.losses import Loss
from coldlens.steering.static import StaticSteering


@dataclass(frozen=True)
class Random(Method):
    """A Gaussian random direction a layer, with the norm of a reference method's vector.

    Attributes:
        reference: The method whose norms it takes; it must give static vectors. Where its vector
            is zero, the norm is 1.
        seed: Seed of the draw.
    """

    reference: Method = field(default_factory=lambda: ColdKernel(positions="all"))
    seed: int = 0
    scale: ClassVar[str] = "the norm of the reference's vector"

    def __post_init__(self) -> None:
        """Checks the seed."""
        at_least(0, "seed", self.seed)

    def check(self, model: TransformerBridge, examples: ExampleSet) -> None:
        """Also checks what the reference needs."""
        super().check(model, examples)
        self.reference.check(model, examples)

    def needs(self, examples: ExampleSet) -> Needs:
        """Returns what the reference needs."""
        return self.reference.needs(examples)

    def with_loss(self, loss: Loss) -> "Random":
        """Returns the control with this loss in its reference; see `Method.with_loss`."""
        return replace(self, reference=self.reference.with_loss(loss))

    def solve(self, model: TransformerBridge, evidence: Evidence) -> StaticSteering:
        """Returns a vector a layer; the same seed and layer give the same vector."""
        reference = self.reference.solve(model, evidence)
        norms = torch.stack([reference.vector(layer).norm() for layer in evidence.layers])
        norms = torch.where(norms > 0, norms, 1.0)
        drawn = torch.stack([self._draw(layer, model.cfg.d_model) for layer in evidence.layers])
        return self.static(model, evidence, drawn.to(norms) * norms.unsqueeze(1))

    def _draw(self, layer: int, width: int) -> Float[Tensor, " d"]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + layer)
        vector = torch.randn(width, generator=generator, dtype=torch.float64)
        return vector / vector.norm()
