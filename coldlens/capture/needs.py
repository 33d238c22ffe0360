"""What a method reads from the examples, and what one pass over them found."""

from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from torch import Tensor

from coldlens.examples.batch import Side
from coldlens.examples.example import ExampleSet
from coldlens.examples.positions import Positions
from coldlens.examples.tokens import Encoded
from coldlens.gradients import Direction, Form
from coldlens.losses import Loss, loss_name

DENSE = Form("dense")
Wanted = Loss | tuple[Loss, Form]
"""A loss whose gradient is wanted, dense or in a form."""


def loss_and_form(wanted: Wanted) -> tuple[Loss, Form]:
    """Returns the loss, and the form: dense for a loss by itself."""
    return wanted if isinstance(wanted, tuple) else (wanted, DENSE)


@dataclass(frozen=True)
class Needs:
    """What a method reads from the examples.

    Attributes:
        activations: (side, positions): Z_l averaged over those positions, per example.
        gradients: (loss, positions): ∂ℓᵢ/∂Z_l summed over those positions of all sequences that
            the loss reads, per example.
        parameter_gradients: Losses whose gradient g = (1/N) Σᵢ ∇_θ ℓᵢ is wanted, dense or, with a
            form beside the loss, in that form.
    """

    activations: frozenset[tuple[Side, Positions]] = frozenset()
    gradients: frozenset[tuple[Loss, Positions]] = frozenset()
    parameter_gradients: frozenset[Wanted] = frozenset()

    def __or__(self, other: "Needs") -> "Needs":
        """Returns what both need."""
        return Needs(
            self.activations | other.activations,
            self.gradients | other.gradients,
            self.parameter_gradients | other.parameter_gradients,
        )

    @property
    def losses(self) -> list[Loss]:
        """Every loss once, in an order that does not depend on hashing."""
        found = {loss for loss, _ in self.gradients}
        found |= {loss_and_form(wanted)[0] for wanted in self.parameter_gradients}
        return sorted(found, key=loss_name)

    @property
    def kept(self) -> frozenset[Wanted]:
        """The gradients to keep: a dense one serves for one in the form that suits best."""
        return self.parameter_gradients - {(loss, Form()) for loss in self.parameter_gradients}


@dataclass(frozen=True)
class Evidence:
    """What one pass over the examples found.

    Attributes:
        examples: The examples.
        encoded: Their token ids.
        layers: The layers that were read.
        activations: Z_l averaged over positions, by (side, positions); shape [layer, example, d].
        gradients: ∂ℓᵢ/∂Z_l summed over positions, by (loss, positions); the same shape.
        parameter_gradients: g by what was wanted and parameter name, for the parameters upstream
            of the deepest layer that the loss depends on; tensors for a loss by itself.
        truncation: By what was wanted in low rank, the relative error of the displacement at each
            layer that this makes.
        losses: ℓᵢ by loss, shape [example].
        batch_size: Examples a batch, for a method that passes over them again.
        progress: Whether such a method shows a progress bar.
    """

    examples: ExampleSet
    encoded: list[Encoded]
    layers: tuple[int, ...]
    activations: dict[tuple[Side, Positions], Float[Tensor, "layer example d"]]
    gradients: dict[tuple[Any, Positions], Float[Tensor, "layer example d"]]
    parameter_gradients: dict[Any, dict[str, Any]]
    losses: dict[Any, Float[Tensor, " example"]]
    batch_size: int
    progress: bool = False
    truncation: dict[Any, tuple[float, ...]] = field(default_factory=dict)

    def gradient(self, loss: Loss, form: Form) -> tuple[Direction, tuple[float, ...]]:
        """Returns a gradient, and the error that truncating it made.

        Args:
            loss: The loss.
            form: The form that was asked for.

        Returns:
            g, and the relative error of the displacement by layer, empty if there is none.
        """
        wanted = (loss, form)
        if wanted not in self.parameter_gradients:
            return self.parameter_gradients[loss], ()
        return self.parameter_gradients[wanted], self.truncation[wanted]
