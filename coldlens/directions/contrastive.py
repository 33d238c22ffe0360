"""What the contrastive methods share: per-example differences of answer activations."""

from jaxtyping import Float
from torch import Tensor

from coldlens.capture import Evidence, Needs
from coldlens.examples.positions import Positions

ANSWERS = Needs(activations=frozenset({("positive", "answer"), ("negative", "answer")}))


def differences(
    evidence: Evidence, positions: Positions = "answer"
) -> Float[Tensor, "layer example d"]:
    """Returns Z̄_l(xᵢ⊕yᵢ⁺) − Z̄_l(xᵢ⊕yᵢ⁻), Z̄ the mean over the answer tokens.

    Args:
        evidence: What was gathered.
        positions: Which tokens the mean is over.

    Returns:
        One difference a layer and example.
    """
    activations = evidence.activations
    return activations["positive", positions] - activations["negative", positions]
