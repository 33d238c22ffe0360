"""Steerings from a kernel: the linear one on representations, and the empirical NTK itself."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from coldlens.gradients import pushforward
from coldlens.models.forward import residuals
from coldlens.steering.intervention import Displacements, Intervention
from coldlens.steering.parametric import held, placed
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
            found[layer] = self._at(layer, residual)
            return intervention.applied(layer, residual, found[layer]) if intervention else None

        with torch.no_grad():
            residuals(self.model, tokens, attention_mask, layers, edit=edit)
        return found

    def begin_field(
        self,
        tokens: Int[Tensor, "row pos"],
        attention_mask: Bool[Tensor, "row pos"],
        layers: tuple[int, ...],
    ) -> Callable[[Displacements], Displacements]:
        """Returns what reads the residual streams, its only need; see `Steering.begin_field`."""
        return lambda streams: {layer: self._at(layer, one) for layer, one in streams.items()}

    def _at(self, layer: int, residual: Float[Tensor, "row pos d"]) -> Float[Tensor, "row pos d"]:
        place = self.place(layer)
        weights = residual.to(self.anchors.dtype) @ self.anchors[place].T
        return -(weights @ self.gradients[place]) / self.anchors.shape[1]

    def tensors(self) -> dict[str, Tensor]:
        """Returns the activations and gradients of the examples."""
        return {"anchors": self.anchors, "gradients": self.gradients}

    @classmethod
    def restore(
        cls, origin: Origin, tensors: dict[str, Tensor], settings: dict[str, float]
    ) -> "LinearKernelSteering":
        """Returns the steering of saved tensors; see `Steering.restore`."""
        return cls(origin, tensors["anchors"], tensors["gradients"])


@dataclass(frozen=True, eq=False, repr=False)
class TangentKernelSteering(Steering):
    """Δ_l(x)[s] = −(1/N) Σᵢ Σ_t K_l((x,s),(xᵢ,t)) ∂ᵢ[t] = −J_l(x)[s] ḡ_l, K_l the empirical NTK.

    Attributes:
        directions: ḡ_l by layer and parameter name, float32 or better: a whole parameter gradient
            for every layer, since each has its own.
    """

    directions: dict[int, dict[str, Tensor]]

    def field(
        self,
        tokens: Int[Tensor, "row pos"],
        attention_mask: Bool[Tensor, "row pos"],
        layers: tuple[int, ...],
        intervention: Intervention | None = None,
    ) -> Displacements:
        """Returns the tangents of one dual forward a layer; see `Steering.field`."""
        found: Displacements = {}

        def edit(layer: int, primal: Tensor, tangent: Tensor) -> tuple[Tensor, Tensor] | None:
            earlier = found.get(layer)
            if earlier is None:
                return None
            return held(intervention, layer, primal, tangent, earlier)

        for place, layer in enumerate(layers):
            read = (layer,) if intervention is None else layers[: place + 1]
            direction = self.directions[layer]
            moved = pushforward(self.model, direction, tokens, attention_mask, read, edit)
            found[layer] = -moved[layer]
        return found

    def tensors(self) -> dict[str, Tensor]:
        """Returns the directions, named by layer and parameter."""
        return {
            f"{layer}.{name}": value
            for layer, direction in self.directions.items()
            for name, value in direction.items()
        }

    @classmethod
    def restore(
        cls, origin: Origin, tensors: dict[str, Tensor], settings: dict[str, float]
    ) -> "TangentKernelSteering":
        """Returns the steering of saved tensors; see `Steering.restore`."""
        directions: dict[int, dict[str, Tensor]] = {layer: {} for layer in origin.layers}
        for key, value in tensors.items():
            layer, name = key.split(".", 1)
            directions[int(layer)][name] = value
        return cls(origin, {layer: placed(origin, one) for layer, one in directions.items()})
