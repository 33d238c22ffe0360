"""ColdJVP: the exact one-step displacement, by forward-mode differentiation."""

from dataclasses import dataclass

from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture import Evidence, Needs
from coldlens.directions.method import Method
from coldlens.directions.parametric import parameter_needs
from coldlens.examples.example import ExampleSet
from coldlens.losses import Loss, default_loss
from coldlens.models.guards import require_eager, require_raw
from coldlens.steering.parametric import TangentSteering


@dataclass(frozen=True)
class ColdJVP(Method):
    """Δ_l(x) = −J_l(x) g: what an infinitesimal gradient step does to Z_l(x), per unit step.

    The ε → 0 limit of COLD-FD (Sharma and Trivedi 2026), with J_l = ∂Z_l/∂θ and g = ∇_θ L,
    computed by one dual forward an input for all layers: no ε, no truncation error.

    Attributes:
        loss: The loss; None for DPO on paired data, cross-entropy on positive-only data.
    """

    loss: Loss | None = None

    @property
    def forwards(self) -> int:
        """One dual forward, which measured 3 to 8 plain ones: less for wider models."""
        return 4

    def check(self, model: TransformerBridge, examples: ExampleSet) -> None:
        """Also checks that the parameters are the model's own and attention is eager."""
        super().check(model, examples)
        require_raw(model, self.label)
        require_eager(model, self.label)

    def needs(self, examples: ExampleSet) -> Needs:
        """Returns the parameter gradient as the only need."""
        return parameter_needs(self.loss, examples)

    def solve(self, model: TransformerBridge, evidence: Evidence) -> TangentSteering:
        """Returns a steering that keeps the gradient; the work is done for each input."""
        loss = self.loss or default_loss(evidence.examples)
        origin = self.origin(model, evidence, loss=loss)
        return TangentSteering(origin, evidence.parameter_gradients[loss])
