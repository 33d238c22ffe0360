"""ReFT: an intervention on the residual stream, trained by gradient descent."""

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture import Evidence
from coldlens.checks import above_zero
from coldlens.directions.anchored import anchored
from coldlens.directions.intervention import Objective, TrainedIntervention
from coldlens.examples.example import ExampleSet
from coldlens.losses import Loss, default_loss
from coldlens.steering.steering import Origin
from coldlens.steering.trained import MLPSteering, Weights, two_layers


@dataclass(frozen=True)
class _ReFT(TrainedIntervention):
    """An intervention trained on a loss of the logits."""

    loss: Loss | None = field(default=None, kw_only=False)

    def loss_of(self, examples: ExampleSet) -> Loss:
        """Returns the method's own loss, or the default one."""
        return self.loss or default_loss(examples)

    def objective(self, model: TransformerBridge, evidence: Evidence) -> Objective:
        """Returns the loss, whose reference is the unsteered model."""
        loss = anchored(model, evidence, self.loss_of(evidence.examples))
        return lambda logits, batch, _: loss(logits, batch)


@dataclass(frozen=True)
class ReFTVector(_ReFT):
    """A constant vector added to Z_l, trained with Adam from zero.

    Representation fine-tuning in the sense of Wu et al. 2024, "ReFT", in the form that Sharma and
    Trivedi 2026, "COLD-Steer", compare with; defaults from the configuration in their public
    code (Adam, learning rate 1e-3, 2 epochs, batches of 8, all positions), which does not shuffle.

    Attributes:
        loss: The loss; None for DPO on paired data, cross-entropy on positive-only data.
    """


@dataclass(frozen=True)
class ReFTMLP(_ReFT):
    """Z_l ← Z_l + W₂ relu(W₁ Z_l + b₁) + b₂ at each token, trained with Adam.

    The other form of ReFT in Sharma and Trivedi 2026, with the same defaults. W₂ and b₂ start at
    zero here, so that the untrained network is no intervention; W₁ and b₁ are uniform within
    ±1/√d_model, as in `torch.nn.Linear`. Where the gradient of an entry is not far above Adam's
    ε = 1e-8, its rounding decides the step: float32 trainings that round differently then differ
    by more than float32 itself, while float64 ones agree to 1e-10.

    Attributes:
        loss: The loss; None for DPO on paired data, cross-entropy on positive-only data.
        hidden: Width of the hidden layer; None for d_model.
    """

    hidden: int | None = None

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        if self.hidden is not None:
            above_zero("hidden", self.hidden)

    def start(self, width: int, generator: torch.Generator) -> Weights:
        """Returns a random hidden layer and an output layer of zeros."""
        hidden, bound = self.hidden or width, 1 / math.sqrt(width)

        def drawn(*shape: int) -> Tensor:
            uniform = torch.rand(*shape, generator=generator, dtype=torch.float64)
            return bound * (2 * uniform - 1)

        return {
            "hidden": drawn(hidden, width),
            "hidden_bias": drawn(hidden),
            "output": torch.zeros(width, hidden, dtype=torch.float64),
            "output_bias": torch.zeros(width, dtype=torch.float64),
        }

    def change(self, weights: Weights, residual: Float[Tensor, "row pos d"]) -> Tensor:
        """Returns the network's output."""
        return two_layers(weights, residual)

    def steering(
        self, origin: Origin, weights: Weights, losses: Float[Tensor, "layer epoch 2"]
    ) -> MLPSteering:
        """Returns the networks as a steering that depends on the input."""
        return MLPSteering(origin, weights, losses)
