"""ColdJVP: the exact displacement of infinitesimal steps, by forward-mode differentiation."""

from dataclasses import dataclass

from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture import Evidence, Needs
from coldlens.checks import above_zero, at_least
from coldlens.directions.descent import mean_gradient
from coldlens.directions.parametric import GradientMethod, parameter_needs
from coldlens.errors import ArgumentError
from coldlens.examples.example import ExampleSet
from coldlens.losses import Loss, default_loss
from coldlens.models.guards import require_eager
from coldlens.steering.parametric import TangentSteering


@dataclass(frozen=True)
class ColdJVP(GradientMethod):
    """Δ_l(x) = −J_l(x) g: what an infinitesimal gradient step does to Z_l(x), per unit step.

    The ε → 0 limit of COLD-FD (Sharma and Trivedi 2026), with J_l = ∂Z_l/∂θ and g = ∇_θ L,
    computed by one dual forward an input for all layers: no ε, no truncation error.

    With several steps g is the mean gradient along k real steps of gradient descent of rate lr,
    (1/k) Σ_j ∇_θ L(θ_j): the path bends, the residual stream is read linearly at θ₀. The scale
    stays that of one step, so η = k · lr stands for those k steps, as `FineTune(k, lr)` takes them.

    Attributes:
        loss: The loss; None for DPO on paired data, cross-entropy on positive-only data.
        steps: k ≥ 1.
        lr: The learning rate of the k steps; without effect where k = 1.

    The form of g (`gradient`, `rank`, `tolerance`, `max_memory`) is as in `GradientMethod`; the
    mean over several steps is made of tensors.
    """

    loss: Loss | None = None
    steps: int = 1
    lr: float | int = 0.1

    def __post_init__(self) -> None:
        """Checks steps, learning rate and the form of the gradient.

        Raises:
            ArgumentError: If one is out of range, or several steps are asked for in another form.
        """
        super().__post_init__()
        at_least(1, "steps", self.steps)
        above_zero("lr", self.lr)
        if self.steps > 1 and (self.gradient not in ("auto", "dense") or self.form.may_truncate):
            raise ArgumentError(
                expected='gradient="auto" or "dense" without max_memory for several steps, whose '
                "mean is of tensors",
                found=f'steps = {self.steps} with gradient = "{self.gradient}" and max_memory = '
                f"{self.max_memory}",
                fix="Leave both out, or take one step",
            )

    @property
    def forwards(self) -> int:
        """One dual forward, which measured 3 to 8 plain ones: less for wider models."""
        return 4

    @property
    def extra_passes(self) -> int:
        """A pass a step; a single step uses the shared one."""
        return self.steps if self.steps > 1 else 0

    def check(self, model: TransformerBridge, examples: ExampleSet) -> None:
        """Also checks that attention is eager."""
        super().check(model, examples)
        require_eager(model, self.label)

    def needs(self, examples: ExampleSet) -> Needs:
        """Returns the parameter gradient at θ₀ as the only need."""
        form = self.form if self.steps == 1 else None
        return parameter_needs(self.loss, examples, form)

    def solve(self, model: TransformerBridge, evidence: Evidence) -> TangentSteering:
        """Returns a steering that keeps the gradient; the work is done for each input."""
        loss = self.loss or default_loss(evidence.examples)
        origin = self.origin(model, evidence, loss=loss)
        if self.steps == 1:
            gradient, truncation = evidence.gradient(loss, self.form)
            return TangentSteering(origin, gradient, truncation=truncation)
        gradient = mean_gradient(model, evidence, loss, self.steps, self.lr, self.label)
        return TangentSteering(origin, gradient)
