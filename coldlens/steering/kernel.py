"""Steerings from a kernel on the residual stream: a displacement linear in Z_l(x)."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from coldlens.models.forward import residuals
from coldlens.steering.intervention import Displacements, Intervention
from coldlens.steering.steering import Origin, Steering


@dataclass(frozen=True, eq=False, repr=False)
class LinearKernelSteering(Steering):
    """Δ_l(x)[s] = −(1/N) Σᵢ ⟨Z_l(x)[s], zᵢ⟩ ∂ᵢ, with zᵢ the examples' activations.

    Attributes:
        anchors: zᵢ, shape [layer, example, d_model].
        gradients: ∂ᵢ, the same shape.
    """

    anchors: Float[Tensor, "layer example d"]
    gradients: Float[Tensor, "layer example d"]

    def field(
        self,
        tokens: Int[Tensor, "row pos"],
        attention_mask: Bool[Tensor, "row pos"],
        layers: tuple[int, ...],
        intervention: Intervention | None = None,
    ) -> Displacements:
        """Returns the gradients weighted by similarity to each token; see `Steering.field`."""
        found: Displacements = {}

        def edit(layer: int, residual: Tensor) -> Tensor | None:
            place = self.place(layer)
            weights = residual.to(self.anchors.dtype) @ self.anchors[place].T
            found[layer] = -(weights @ self.gradients[place]) / self.anchors.shape[1]
            return intervention.applied(layer, residual, found[layer]) if intervention else None

        with torch.no_grad():
            residuals(self.model, tokens, attention_mask, layers, edit=edit)
        return found

    def tensors(self) -> dict[str, Tensor]:
        """Returns the activations and gradients of the examples."""
        return {"anchors": self.anchors, "gradients": self.gradients}

    @classmethod
    def restore(
        cls, origin: Origin, tensors: dict[str, Tensor], settings: dict[str, float]
    ) -> "LinearKernelSteering":
        """Returns the steering of saved tensors; see `Steering.restore`."""
        return cls(origin, tensors["anchors"], tensors["gradients"])
