"""FineTune: really take gradient steps, and read what they did."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture import Evidence, Needs, collect
from coldlens.checks import above_zero
from coldlens.directions.method import Method
from coldlens.directions.parametric import parameter_needs
from coldlens.examples.example import ExampleSet
from coldlens.losses import Loss, default_loss
from coldlens.models.guards import require_raw
from coldlens.models.parameters import parameters, upstream
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
        above_zero("steps", self.steps)
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
        if self.steps == 1:
            gradient = evidence.parameter_gradients[loss]
            moved = {name: -self.lr * tensor for name, tensor in gradient.items()}
        else:
            moved = self._descend(model, evidence, loss)
        origin = self.origin(model, evidence, loss=loss)
        return DifferenceSteering(origin, moved, step=1.0, scale=1.0)

    def _descend(
        self, model: TransformerBridge, evidence: Evidence, loss: Loss
    ) -> dict[str, Tensor]:
        start = {name: found.tensor.detach() for name, found in parameters(model).items()}
        moved = {
            name: torch.zeros_like(value, dtype=torch.promote_types(value.dtype, torch.float32))
            for name, value in start.items()
        }
        steps = tqdm(range(self.steps), desc=self.label, disable=not evidence.progress)
        for _ in steps:
            values = {name: start[name] + moved[name] for name in start}
            found = collect(
                model,
                evidence.examples,
                evidence.layers,
                Needs(parameter_gradients=frozenset({loss})),
                batch_size=evidence.batch_size,
                encoded=evidence.encoded,
                at=values,
                differentiate=values,
            )
            for name, gradient in found.parameter_gradients[loss].items():
                moved[name] -= self.lr * gradient
        kept = upstream(model, max(evidence.layers))
        return {name: value for name, value in moved.items() if name in kept and value.any()}
