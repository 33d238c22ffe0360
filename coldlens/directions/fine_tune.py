"""FineTune: really take gradient steps, and read what they did."""

from dataclasses import dataclass
from typing import ClassVar

from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture import Evidence, Needs
from coldlens.checks import above_zero, at_least
from coldlens.directions.descent import mean_gradient
from coldlens.directions.method import Method
from coldlens.directions.parametric import parameter_needs
from coldlens.examples.example import ExampleSet
from coldlens.losses import Loss, default_loss
from coldlens.models.guards import require_raw
from coldlens.steering.parametric import DifferenceSteering


@dataclass(frozen=True)
class FineTune(Method):
    """Δ_l(x) = Z_l(x; θ_k) − Z_l(x; θ₀) after k steps θ ← θ − lr ∇_θ L(θ): the ground truth.

    Plain full-batch gradient descent on copies of the parameters; the model itself keeps its
    own. The displacement includes the learning rate: for one small step it is lr · ColdJVP.

    Attributes:
        steps: k ≥ 1. From the second step on all parameters move, also those downstream of the
            layers, since they change the later gradients.
        lr: The learning rate.
        loss: The loss; None for DPO on paired data, cross-entropy on positive-only data.
    """

    steps: int = 1
    lr: float = 0.1
    loss: Loss | None = None
    scale: ClassVar[str] = "the change after the steps, learning rate included"

    def __post_init__(self) -> None:
        """Checks steps and learning rate."""
        at_least(1, "steps", self.steps)
        above_zero("lr", self.lr)

    @property
    def forwards(self) -> int:
        """One forward before the steps and one after."""
        return 2

    @property
    def extra_passes(self) -> int:
        """A pass a step; a single step uses the shared one."""
        return self.steps if self.steps > 1 else 0

    def check(self, model: TransformerBridge, examples: ExampleSet) -> None:
        """Also checks that the parameters are the model's own."""
        super().check(model, examples)
        require_raw(model, self.label)

    def needs(self, examples: ExampleSet) -> Needs:
        """Returns the parameter gradient at θ₀ as the only need."""
        return parameter_needs(self.loss, examples)

    def solve(self, model: TransformerBridge, evidence: Evidence) -> DifferenceSteering:
        """Returns the change of the parameters after all steps."""
        loss = self.loss or default_loss(evidence.examples)
        gradient = mean_gradient(model, evidence, loss, self.steps, self.lr, self.label)
        moved = {name: -self.steps * self.lr * tensor for name, tensor in gradient.items()}
        origin = self.origin(model, evidence, loss=loss)
        return DifferenceSteering(origin, moved, step=1.0, scale=1.0)
