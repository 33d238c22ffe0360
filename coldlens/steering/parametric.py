"""Steerings from a direction in parameter space: finite differences, forward mode, real steps."""

from collections.abc import Callable, Mapping
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
DualEdit = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor] | None]
"""From a layer, its residual stream and tangent to what takes their place; None to leave them."""


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


def accurate_parameters(
    model: TransformerBridge, layer: int, dtype: torch.dtype | None = None
) -> dict[str, Tensor]:
    """Returns the parameters upstream of a layer in float32 or better, without a graph.

    Args:
        model: The model.
        layer: The deepest layer that will be read.
        dtype: Another dtype to compute in.

    Returns:
        Values by name; the parameters' own storage where the dtype allows.
    """
    dtype = dtype or working_dtype(model)
    return {name: found.tensor.detach().to(dtype) for name, found in upstream(model, layer).items()}


def moved_residuals(
    model: TransformerBridge,
    direction: Mapping[str, Tensor],
    step: float,
    tokens: Int[Tensor, "row pos"],
    attention_mask: Bool[Tensor, "row pos"],
    layers: tuple[int, ...],
    edit: Edit | None = None,
    *,
    dtype: torch.dtype | None = None,
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
        dtype: Another dtype to compute in.

    Returns:
        The residual stream by layer.
    """
    values = accurate_parameters(model, max(layers), dtype)
    if step != 0:
        for name in values.keys() & direction.keys():
            values[name] = torch.add(values[name], direction[name], alpha=step)
    with torch.no_grad(), exchanged(model, values):
        return residuals(model, tokens, attention_mask, layers, edit=edit)[0]


def pushforward(
    model: TransformerBridge,
    direction: Mapping[str, Tensor],
    tokens: Int[Tensor, "row pos"],
    attention_mask: Bool[Tensor, "row pos"],
    layers: tuple[int, ...],
    edit: DualEdit | None = None,
) -> Displacements:
    """Computes J_l(x)[s] v at every token s by forward mode: one dual forward for all layers.

    Args:
        model: The model; its attention must be eager.
        direction: v by parameter name; parameters that are missing do not move.
        tokens: Token ids.
        attention_mask: True at real tokens.
        layers: The layers to read.
        edit: Called at every layer read, in order, with the layer, Z_l and J_l v; it may return
            what takes their place for the layers after it.

    Returns:
        J_l v by layer, as it was before the layer's own edit; arbitrary at padding.
    """
    found: Displacements = {}

    def read(layer: int, residual: Tensor) -> Tensor | None:
        primal, tangent = forward_ad.unpack_dual(residual)
        found[layer] = torch.zeros_like(primal) if tangent is None else tangent
        replacement = edit(layer, primal, found[layer]) if edit else None
        return None if replacement is None else forward_ad.make_dual(*replacement)

    values = accurate_parameters(model, max(layers))
    with torch.inference_mode(False), torch.no_grad(), forward_ad.dual_level():
        for name in values.keys() & direction.keys():
            values[name] = forward_ad.make_dual(values[name], direction[name])
        with exchanged(model, values):
            residuals(model, tokens, attention_mask, layers, edit=read)
    return found


def held(
    intervention: Intervention | None, layer: int, primal: Tensor, tangent: Tensor, change: Tensor
) -> tuple[Tensor, Tensor] | None:
    """Applies an intervention to Z_l and its tangent, which becomes zero where it acts.

    What the parameters upstream do at the steered positions is in the displacement already, so a
    later layer does not count it again.

    Args:
        intervention: The intervention, or None.
        layer: The layer.
        primal: Z_l.
        tangent: Its tangent.
        change: The displacement at the layer.

    Returns:
        Both, or None where the layer is not steered.
    """
    if intervention is None or layer not in intervention.layers:
        return None
    left = tangent.masked_fill(intervention.mask.unsqueeze(-1), 0.0)
    return intervention.applied(layer, primal, change), left


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
        """Returns the tangents of one dual forward for all layers; see `Steering.field`."""

        def edit(layer: int, primal: Tensor, tangent: Tensor) -> tuple[Tensor, Tensor] | None:
            return held(intervention, layer, primal, tangent, -tangent)

        found = pushforward(self.model, self.direction, tokens, attention_mask, layers, edit)
        return {layer: -tangent for layer, tangent in found.items()}


@dataclass(frozen=True, eq=False, repr=False)
class DifferenceSteering(ParametricSteering):
    """Δ_l(x) = c (Z_l(x; θ + a v) − Z_l(x; θ)), or the central form c/2 (Z(θ+av) − Z(θ−av)).

    Attributes:
        step: a.
        scale: c; −1/a for a finite difference along a gradient, 1 for a real step.
        scheme: `"forward"` or `"central"`.
        double: Run the forwards in float64 whatever the model's dtype.
    """

    step: float
    scale: float
    scheme: Scheme = "forward"
    double: bool = False

    @classmethod
    def restore(
        cls, origin: Origin, tensors: dict[str, Tensor], settings: dict[str, float]
    ) -> "DifferenceSteering":
        """Returns the steering of saved tensors; see `Steering.restore`."""
        scheme: Scheme = "central" if settings["central"] else "forward"
        double = bool(settings["double"])
        return cls(origin, tensors, settings["step"], settings["scale"], scheme, double)

    def settings(self) -> dict[str, float]:
        """Returns step, scale, and whether the difference is central and in float64."""
        return {
            "step": self.step,
            "scale": self.scale,
            "central": float(self.scheme == "central"),
            "double": float(self.double),
        }

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
        kept: dict[int, Tensor] = {}
        found: Displacements = {}
        if intervention is None or len(layers) == 1:
            found = self._difference(tokens, attention_mask, layers, kept, None)
        else:
            for place, layer in enumerate(layers):
                upto = layers[: place + 1]
                found |= self._difference(tokens, attention_mask, upto, kept, intervention, layer)
        dtype = working_dtype(self.model)
        return {layer: values.to(dtype) for layer, values in found.items()}

    def _difference(
        self,
        tokens: Tensor,
        attention_mask: Tensor,
        layers: tuple[int, ...],
        kept: dict[int, Tensor],
        intervention: Intervention | None,
        only: int | None = None,
    ) -> Displacements:
        def edit(layer: int, residual: Tensor) -> Tensor | None:
            if intervention is None or layer not in kept:
                return None
            return torch.where(intervention.mask.unsqueeze(-1), kept[layer], residual)

        dtype = torch.float64 if self.double else None

        def run(step: float) -> dict[int, Tensor]:
            return moved_residuals(
                self.model, self.direction, step, tokens, attention_mask, layers, edit, dtype=dtype
            )

        central, given = self.scheme == "central", intervention is not None and only is not None
        base = run(0.0) if given or not central else {}
        moved = run(self.step)
        other, scale = (run(-self.step), self.scale / 2) if central else (base, self.scale)
        wanted = layers if only is None else (only,)
        found = {layer: scale * (moved[layer] - other[layer]) for layer in wanted}
        if intervention is not None and only is not None:
            kept[only] = intervention.applied(only, base[only], found[only])
        return found
