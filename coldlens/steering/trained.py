"""Steerings that were trained: a constant vector, or a two-layer network of the residual stream."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from coldlens.models.forward import residuals
from coldlens.steering.intervention import Displacements, Intervention
from coldlens.steering.static import StaticSteering
from coldlens.steering.steering import Origin, Steering

Weights = dict[str, Tensor]
"""The trained tensors of one layer, or of all layers along a first axis, by name."""


@dataclass(frozen=True, eq=False, repr=False)
class TrainedVector(StaticSteering):
    """One trained vector a layer.

    Attributes:
        losses: Mean loss in each epoch, of the examples trained on (as they came, before each
            step) and of those held out (after the epoch): last axis. nan where there is none.
    """

    losses: Float[Tensor, "layer epoch 2"]

    def tensors(self) -> dict[str, Tensor]:
        """Returns the vectors, their coherence and the losses."""
        return {**super().tensors(), "losses": self.losses}

    @classmethod
    def restore(
        cls, origin: Origin, tensors: dict[str, Tensor], settings: dict[str, float]
    ) -> "TrainedVector":
        """Returns the steering of saved tensors; see `Steering.restore`."""
        return cls(origin, tensors["vectors"], tensors["coherence"], tensors["losses"])


@dataclass(frozen=True, eq=False, repr=False)
class MLPSteering(Steering):
    """Δ_l(x)[s] = W₂ relu(W₁ Z_l(x)[s] + b₁) + b₂, with weights of its own at each layer.

    Attributes:
        weights: W₁ as `"hidden"` [layer, hidden, d_model], b₁ as `"hidden_bias"`, W₂ as `"output"`
            [layer, d_model, hidden] and b₂ as `"output_bias"`.
        losses: As in `TrainedVector`.
    """

    weights: Weights
    losses: Float[Tensor, "layer epoch 2"]

    def field(
        self,
        tokens: Int[Tensor, "row pos"],
        attention_mask: Bool[Tensor, "row pos"],
        layers: tuple[int, ...],
        intervention: Intervention | None = None,
    ) -> Displacements:
        """Returns the network's output at each token; see `Steering.field`."""
        found: Displacements = {}

        def edit(layer: int, residual: Tensor) -> Tensor | None:
            place = self.place(layer)
            weights = {name: value[place] for name, value in self.weights.items()}
            found[layer] = two_layers(weights, residual.to(weights["hidden"].dtype))
            return intervention.applied(layer, residual, found[layer]) if intervention else None

        with torch.no_grad():
            residuals(self.model, tokens, attention_mask, layers, edit=edit)
        return found

    def tensors(self) -> dict[str, Tensor]:
        """Returns the weights and the losses."""
        return {**self.weights, "losses": self.losses}

    @classmethod
    def restore(
        cls, origin: Origin, tensors: dict[str, Tensor], settings: dict[str, float]
    ) -> "MLPSteering":
        """Returns the steering of saved tensors; see `Steering.restore`."""
        weights = dict(tensors)
        losses = weights.pop("losses")
        return cls(origin, weights, losses)


def two_layers(weights: Weights, residual: Float[Tensor, "*row d"]) -> Float[Tensor, "*row d"]:
    """Computes W₂ relu(W₁ z + b₁) + b₂ along the last axis.

    Args:
        weights: The four tensors of one layer; see `MLPSteering`.
        residual: z.

    Returns:
        Of the same shape.
    """
    hidden = (residual @ weights["hidden"].T + weights["hidden_bias"]).relu()
    return hidden @ weights["output"].T + weights["output_bias"]
