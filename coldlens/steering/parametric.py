"""Steerings from a direction in parameter space: finite differences, forward mode, real steps."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from coldlens.gradients import Direction, moved_residuals, packed, pushforward, unpacked
from coldlens.models.guards import working_dtype
from coldlens.models.parameters import parameters
from coldlens.steering.intervention import Displacements, Intervention
from coldlens.steering.steering import Origin, Steering

Scheme = Literal["forward", "central"]


@dataclass(frozen=True, eq=False, repr=False)
class ParametricSteering(Steering):
    """The change of Z_l(x) when the parameters move along a fixed direction v.

    Attributes:
        direction: v by parameter name, float32 or better: tensors, or sums of outer products.
        truncation: By layer, the relative error of the displacement that truncating v made, as
            measured while fitting; empty where v was not truncated.
    """

    direction: Direction
    _: KW_ONLY
    truncation: tuple[float, ...] = ()

    def tensors(self) -> dict[str, Tensor]:
        """Returns the direction."""
        return packed(self.direction)

    def settings(self) -> dict[str, float]:
        """Returns the error that truncating the direction made, by layer."""
        errors = zip(self.layers, self.truncation, strict=False)
        return {f"truncation {layer}": error for layer, error in errors}

    @classmethod
    def restore(
        cls, origin: Origin, tensors: dict[str, Tensor], settings: dict[str, float]
    ) -> "ParametricSteering":
        """Returns the steering of saved tensors; see `Steering.restore`."""
        return cls(origin, unpacked(placed(origin, tensors)), truncation=_truncation(settings))


def placed(origin: Origin, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Puts what belongs to a parameter on its device, as `fit` does.

    Args:
        origin: The record that has the model.
        tensors: By parameter name, which a colon and a part may follow.

    Returns:
        The same tensors, each on the device of its parameter.
    """
    known = parameters(origin.model)
    return {
        name: value.to(known[name.partition(":")[0]].tensor.device)
        for name, value in tensors.items()
    }


def _truncation(settings: dict[str, float]) -> tuple[float, ...]:
    return tuple(value for key, value in settings.items() if key.startswith("truncation"))


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
        return cls(
            origin,
            unpacked(placed(origin, tensors)),
            settings["step"],
            settings["scale"],
            scheme,
            double,
            truncation=_truncation(settings),
        )

    def settings(self) -> dict[str, float]:
        """Returns step, scale, and whether the difference is central and in float64."""
        return {
            "step": self.step,
            "scale": self.scale,
            "central": float(self.scheme == "central"),
            "double": float(self.double),
            **super().settings(),
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

    def begin_field(
        self,
        tokens: Int[Tensor, "row pos"],
        attention_mask: Bool[Tensor, "row pos"],
        layers: tuple[int, ...],
    ) -> Callable[[Displacements], Displacements]:
        """Returns the difference to the moved model, which alone runs; see `Steering.begin_field`.

        Under the central scheme, or where both forwards are more accurate than the model, no side
        of the difference is the model's own stream, so both run.
        """
        accurate = next(self.model.original_model.parameters()).dtype == working_dtype(self.model)
        if self.scheme == "central" or self.double or not accurate:
            return super().begin_field(tokens, attention_mask, layers)
        moved = moved_residuals(
            self.model, self.direction, self.step, tokens, attention_mask, layers
        )
        return lambda streams: {
            layer: self.scale * (moved[layer] - stream) for layer, stream in streams.items()
        }

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
