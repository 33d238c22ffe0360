"""RepE: the first principal component of the differences."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture import Evidence, Needs
from coldlens.directions.contrastive import ANSWERS, differences
from coldlens.directions.method import Method
from coldlens.examples.example import ExampleSet
from coldlens.examples.positions import Positions
from coldlens.steering.static import StaticSteering


@dataclass(frozen=True)
class RepE(Method):
    """First principal component of the per-example differences, unit norm.

    Source: Zou et al. 2023, "Representation Engineering", section 3.1. The sign is fixed by the
    data: the differences' mean projection on the direction is positive.

    Attributes:
        center: Whether the mean difference is subtracted first. Centred, the component describes
            how the differences vary, and may be far from their mean.
    """

    center: bool = True
    needs_pairs: ClassVar[bool] = True
    positions: ClassVar[Positions] = "answer"
    scale: ClassVar[str] = "norm 1 at each layer"

    def needs(self, examples: ExampleSet) -> Needs:
        """Returns the answer activations of both sides."""
        return ANSWERS

    def solve(self, model: TransformerBridge, evidence: Evidence) -> StaticSteering:
        """Returns the component of each layer."""
        samples = differences(evidence)
        vectors = torch.stack([principal(layer, center=self.center) for layer in samples])
        return self.static(model, evidence, vectors, samples=samples)


def principal(samples: Float[Tensor, "example d"], *, center: bool) -> Float[Tensor, " d"]:
    """Returns the first right singular vector, with positive mean projection of the samples.

    Args:
        samples: One vector an example.
        center: Whether the mean is subtracted first. With a single example it is not: there is
            no variation to describe.

    Returns:
        A unit vector; zero if all samples are zero.
    """
    accurate = samples.double()
    mean = accurate.mean(0)
    matrix = accurate - mean if center and len(samples) > 1 else accurate
    if not matrix.any():
        return torch.zeros_like(samples[0])
    direction = torch.linalg.svd(matrix, full_matrices=False).Vh[0]
    sign = -1.0 if mean @ direction < 0 else 1.0
    return (sign * direction).to(samples.dtype)
