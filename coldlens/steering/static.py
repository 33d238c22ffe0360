"""Static steerings: one vector a layer, whatever the input."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from coldlens.errors import SteeringError
from coldlens.steering.intervention import Displacements, Intervention
from coldlens.steering.steering import Origin, Steering


@dataclass(frozen=True, eq=False, repr=False)
class StaticSteering(Steering):
    """One vector a layer. Adds, scales and normalises: `2 * a - b`, `a.normalized()`.

    Attributes:
        vectors: Shape [layer, d_model], float32 or better.
        coherence: Mean pairwise cosine of the per-example vectors that were averaged, by layer;
            nan for a method that averages none.
    """

    vectors: Float[Tensor, "layer d"]
    coherence: Float[Tensor, " layer"]
    input_dependent: ClassVar[bool] = False

    def field(
        self,
        tokens: Int[Tensor, "row pos"],
        attention_mask: Bool[Tensor, "row pos"],
        layers: tuple[int, ...],
        intervention: Intervention | None = None,
    ) -> Displacements:
        """Returns the vector of each layer at every position; see `Steering.field`."""
        return {
            layer: self.vectors[self.place(layer)].expand(*tokens.shape, -1) for layer in layers
        }

    def vector(self, layer: int, prompts: object = None) -> Float[Tensor, " d"]:
        """Returns the vector of a layer; `prompts` does not matter for a static steering."""
        return self.vectors[self.place(layer)].clone()

    def tensors(self) -> dict[str, Tensor]:
        """Returns the vectors and their coherence."""
        return {"vectors": self.vectors, "coherence": self.coherence}

    @classmethod
    def restore(
        cls, origin: Origin, tensors: dict[str, Tensor], settings: dict[str, float]
    ) -> "StaticSteering":
        """Returns the steering of saved tensors; see `Steering.restore`."""
        return cls(origin, tensors["vectors"], tensors["coherence"])

    def normalized(self) -> "StaticSteering":
        """Returns the same directions with norm 1 at every layer.

        Raises:
            SteeringError: If a vector is zero.
        """
        norms = self.vectors.norm(dim=1, keepdim=True)
        if (norms == 0).any():
            layer = self.layers[int((norms == 0).flatten().nonzero()[0])]
            raise SteeringError(
                expected="a vector that is not zero",
                found=f"a zero vector at layer {layer}",
                fix="Check that positive and negative examples differ",
            )
        name = f"({self.provenance.method}).normalized()"
        return self._with(self.vectors / norms, name, "norm 1 at each layer")

    def __add__(self, other: "StaticSteering") -> "StaticSteering":
        """Returns the sum; both must belong to the same model and layers."""
        self._check_fits(other)
        name = f"({self.provenance.method}) + ({other.provenance.method})"
        return self._with(self.vectors + other.vectors, name)

    def __sub__(self, other: "StaticSteering") -> "StaticSteering":
        """Returns the difference; both must belong to the same model and layers."""
        self._check_fits(other)
        name = f"({self.provenance.method}) - ({other.provenance.method})"
        return self._with(self.vectors - other.vectors, name)

    def __mul__(self, factor: float | int) -> "StaticSteering":
        """Returns the steering with every vector scaled."""
        return self._with(self.vectors * factor, f"{factor:g} * ({self.provenance.method})")

    __rmul__ = __mul__

    def __truediv__(self, divisor: float | int) -> "StaticSteering":
        """Returns the steering with every vector divided."""
        return self * (1 / divisor)

    def __neg__(self) -> "StaticSteering":
        """Returns the opposite steering."""
        return self * -1.0

    def _with(
        self, vectors: Tensor, method: str, scale: str = "as the expression gives it"
    ) -> "StaticSteering":
        record = replace(self.provenance, method=method, settings=method, scale=scale)
        unknown = torch.full_like(self.coherence, float("nan"))
        return StaticSteering(replace(self.origin, provenance=record), vectors, unknown)

    def _check_fits(self, other: object) -> None:
        if not isinstance(other, StaticSteering):
            raise SteeringError(
                expected="another static steering",
                found=type(other).__name__,
                fix="Only static steerings add; for an input-dependent one nest two apply blocks",
            )
        mine, theirs = self.provenance.model_fingerprint, other.provenance.model_fingerprint
        if mine != theirs or self.layers != other.layers:
            raise SteeringError(
                expected=f"a steering of the same model and layers {list(self.layers)}",
                found=f"weights {theirs[:12]}, layers {list(other.layers)}",
                fix="Fit both on one model with the same layers",
            )
