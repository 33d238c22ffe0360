"""Steerings from a direction in parameter space: finite differences, forward mode, real steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.autograd import forward_ad
from transformer_lens.model_bridge import TransformerBridge

from coldlens.models.forward import Edit, residuals
from coldlens.models.guards import working_dtype
from coldlens.models.parameters import exchanged, upstream
from coldlens.steering.intervention import Displacements, Intervention
from coldlens.steering.steering import Origin, Steering

Scheme = Literal["forward", "central"]


@dataclass(frozen=True, eq=False, repr=False)
class ParametricSteering(Steering):
    """The change of Z_l(x) when the parameters move along a fixed direction v.

    Attributes:
        direction: v by parameter name, float32 or better.
    """

    direction: dict[str, Tensor]

    def tensors(self) -> dict[str, Tensor]:
        """Returns the direction."""
        return self.direction

    @classmethod
    def restore(
        cls, origin: Origin, tensors: dict[str, Tensor], settings: dict[str, float]
    ) -> "ParametricSteering":
        """Returns the steering of saved tensors; see `Steering.restore`."""
        return cls(origin, tensors)


def accurate_parameters(model: TransformerBridge, layer: int) -> dict[str, Tensor]:
    """Returns the parameters upstream of a layer in float32 or better, without a graph.

    Args:
        model: The model.
        layer: The deepest layer that will be read.

    Returns:
        Values by name; the parameters' own storage where the dtype allows.
    """
    dtype = working_dtype(model)
    return {name: found.tensor.detach().to(dtype) for name, found in upstream(model, layer).items()}


def moved_residuals(
    model: TransformerBridge,
    direction: Mapping[str, Tensor],
    step: float,
    tokens: Int[Tensor, "row pos"],
    attention_mask: Bool[Tensor, "row pos"],
    layers: tuple[int, ...],
    edit: Edit | None = None,
) -> Displacements:
    """Reads Z_l(x; θ + a v) in float32 or better.

    Args:
        model: The model.
        direction: v by parameter name.
        step: a.
        tokens: Token ids.
        attention_mask: True at real tokens.
        layers: The layers to read, ascending.
        edit: What to do at each layer; see `residuals`.

    Returns:
        The residual stream by layer.
    """
    values = accurate_parameters(model, max(layers))
    if step != 0:
        for name in values.keys() & direction.keys():
            values[name] = torch.add(values[name], direction[name], alpha=step)
    with torch.no_grad(), exchanged(model, values):
        return residuals(model, tokens, attention_mask, layers, edit=edit)[0]


@dataclass(frozen=True, eq=False, repr=False)
class TangentSteering(ParametricSteering):
    """Δ_l(x) = −J_l(x) v by forward-mode differentiation: exact, without a step size."""

    def field(
        self,
        tokens: Int[Tensor, "row pos"],
        attention_mask: Bool[Tensor, "row pos"],
        layers: tuple[int, ...],
        intervention: Intervention | None = None,
    ) -> Displacements:
        """Returns the tangents of one dual forward for all layers; see `Steering.field`.

        Given earlier interventions, the tangent is zero at the positions that were steered: the
        parameters upstream have had their effect there.
        """
        found: Displacements = {}

        def edit(layer: int, residual: Tensor) -> Tensor | None:
            primal, tangent = forward_ad.unpack_dual(residual)
            tangent = torch.zeros_like(primal) if tangent is None else tangent
            found[layer] = -tangent
            if intervention is None or layer not in intervention.layers:
                return None
            left = tangent.masked_fill(intervention.mask.unsqueeze(-1), 0.0)
            return forward_ad.make_dual(intervention.applied(layer, primal, -tangent), left)

        values = accurate_parameters(self.model, max(layers))
        with torch.inference_mode(False), torch.no_grad(), forward_ad.dual_level():
            for name in values.keys() & self.direction.keys():
                values[name] = forward_ad.make_dual(values[name], self.direction[name])
            with exchanged(self.model, values):
                residuals(self.model, tokens, attention_mask, layers, edit=edit)
        return found


@dataclass(frozen=True, eq=False, repr=False)
class DifferenceSteering(ParametricSteering):
    """Δ_l(x) = c (Z_l(x; θ + a v) − Z_l(x; θ)), or the central form c/2 (Z(θ+av) − Z(θ−av)).

    Attributes:
        step: a.
        scale: c; −1/a for a finite difference along a gradient, 1 for a real step.
        scheme: `"forward"` or `"central"`.
    """

    step: float
    scale: float
    scheme: Scheme = "forward"

    @classmethod
    def restore(
        cls, origin: Origin, tensors: dict[str, Tensor], settings: dict[str, float]
    ) -> "DifferenceSteering":
        """Returns the steering of saved tensors; see `Steering.restore`."""
        scheme: Scheme = "central" if settings["central"] else "forward"
        return cls(origin, tensors, settings["step"], settings["scale"], scheme)

    def settings(self) -> dict[str, float]:
        """Returns step, scale and whether the difference is central."""
        return {"step": self.step, "scale": self.scale, "central": float(self.scheme == "central")}

    def field(
        self,
        tokens: Int[Tensor, "row pos"],
        attention_mask: Bool[Tensor, "row pos"],
        layers: tuple[int, ...],
        intervention: Intervention | None = None,
    ) -> Displacements:
        """Returns the differences of two forwards for all layers; see `Steering.field`.

        Given earlier interventions, both forwards hold the steered positions at the steered
        values, one pair of forwards a steered layer.
        """
        if intervention is None or len(layers) == 1:
            return self._difference(tokens, attention_mask, layers, {}, None)
        held: dict[int, Tensor] = {}
        found: Displacements = {}
        for place, layer in enumerate(layers):
            upto = layers[: place + 1]
            found |= self._difference(tokens, attention_mask, upto, held, intervention, layer)
        return found

    def _difference(
        self,
        tokens: Tensor,
        attention_mask: Tensor,
        layers: tuple[int, ...],
        held: dict[int, Tensor],
        intervention: Intervention | None,
        only: int | None = None,
    ) -> Displacements:
        def edit(layer: int, residual: Tensor) -> Tensor | None:
            if intervention is None or layer not in held:
                return None
            return torch.where(intervention.mask.unsqueeze(-1), held[layer], residual)

        def run(step: float) -> dict[int, Tensor]:
            return moved_residuals(
                self.model, self.direction, step, tokens, attention_mask, layers, edit
            )

        base, moved = run(0.0), run(self.step)
        if self.scheme == "central":
            other, scale = run(-self.step), self.scale / 2
        else:
            other, scale = base, self.scale
        wanted = layers if only is None else (only,)
        found = {layer: scale * (moved[layer] - other[layer]) for layer in wanted}
        if intervention is not None and only is not None:
            held[only] = intervention.applied(only, base[only], found[only])
        return found
