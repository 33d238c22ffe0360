"""COLD-FD: the one-step displacement by finite differences in parameter space."""

from dataclasses import dataclass
from typing import Literal, get_args

from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture import Evidence, Needs
from coldlens.checks import above_zero, one_of
from coldlens.directions.epsilon import Step, automatic_step
from coldlens.directions.parametric import GradientMethod, parameter_needs
from coldlens.examples.example import ExampleSet
from coldlens.losses import Loss, default_loss
from coldlens.steering.parametric import DifferenceSteering, Scheme


@dataclass(frozen=True)
class ColdFD(GradientMethod):
    """Δ_l(x) = −(Z_l(x; θ + εg) − Z_l(x; θ))/ε, g = ∇_θ L over the examples.

    Source: Sharma and Trivedi 2026, "COLD-Steer", COLD-FD-Steer. Both forwards run in float32
    or better whatever the model's dtype: half precision would return rounding noise, or zero. The
    automatic step goes on to float64 where float32 does not resolve the difference either.

    Attributes:
        loss: The loss; None for DPO on paired data, cross-entropy on positive-only data.
        epsilon: ε, or `"auto"`: beginning at steps well above that which moves the residual stream
            by √u (forward) or u^⅓ (central) of its norm, u the unit round-off, a ladder goes down
            and finds where truncation and rounding meet; see `automatic_step`.
        scheme: `"forward"` (error ∝ ε) or `"central"` (error ∝ ε²): the same two forwards, but
            neither is the unsteered one.

    The form of g (`gradient`, `rank`, `tolerance`, `max_memory`) is as in `GradientMethod`.
    """

    loss: Loss | None = None
    epsilon: float | Literal["auto"] = "auto"
    scheme: Scheme = "forward"

    def __post_init__(self) -> None:
        """Checks ε, the scheme and the form of the gradient."""
        super().__post_init__()
        if self.epsilon != "auto":
            above_zero("epsilon", self.epsilon)
        one_of("scheme", self.scheme, get_args(Scheme))

    @property
    def forwards(self) -> int:
        """Two: a perturbed forward and the unperturbed one, or two perturbed ones."""
        return 2

    @property
    def pilot_forwards(self) -> int:
        """What the ladder of the automatic ε took."""
        if self.epsilon != "auto":
            return 0
        return 14 if self.scheme == "central" else 8

    def needs(self, examples: ExampleSet) -> Needs:
        """Returns the parameter gradient as the only need."""
        return parameter_needs(self.loss, examples, self.form)

    def solve(self, model: TransformerBridge, evidence: Evidence) -> DifferenceSteering:
        """Returns a steering that keeps the gradient and ε."""
        loss = self.loss or default_loss(evidence.examples)
        gradient, truncation = evidence.gradient(loss, self.form)
        origin = self.origin(model, evidence, loss=loss)

        if self.epsilon == "auto":
            prompts = [example.prompt for example in evidence.encoded]
            step = automatic_step(model, evidence.layers, gradient, prompts, self.scheme)
        else:
            step = Step(float(self.epsilon))
        return DifferenceSteering(
            origin,
            gradient,
            step=step.epsilon,
            scale=-1 / step.epsilon,
            scheme=self.scheme,
            double=step.double,
            truncation=truncation,
        )
