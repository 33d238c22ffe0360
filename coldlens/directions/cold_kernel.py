"""COLD-Kernel: the examples' activation gradients, weighted by a kernel on representations."""

from dataclasses import dataclass
from typing import Literal, get_args

from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture import Evidence, Needs
from coldlens.checks import one_of
from coldlens.directions.method import Method
from coldlens.examples.example import ExampleSet
from coldlens.examples.positions import Positions, check_positions
from coldlens.losses import Loss, default_loss, sides_of
from coldlens.steering.kernel import LinearKernelSteering
from coldlens.steering.steering import Steering

Kernel = Literal["identity", "linear"]


@dataclass(frozen=True)
class ColdKernel(Method):
    """Δ_l(x) = −(1/N) Σᵢ κ(x, xᵢ) ∂ᵢ, with ∂ᵢ the gradient of ℓᵢ with respect to Z_l(xᵢ).

    Source: Sharma and Trivedi 2026, "COLD-Steer", COLD-Kernel-Steer. ∂ᵢ is summed over the
    chosen positions of all sequences that the loss reads: for DPO both completions.

    Attributes:
        loss: The loss ℓ; None for DPO on paired data, cross-entropy on positive-only data.
        positions: Which tokens' gradients count; the paper takes the last token of the prompt.
            A completion's own last token predicts nothing, so for one-token completions the
            gradient at `"answer"` is zero. At the last layer each token only predicts the next:
            where both completions begin alike, the gradient at `"last_prompt"` is zero there.
        kernel: `"identity"` (κ = 1: a static vector) or `"linear"` (κ = ⟨Z_l(x)[s], zᵢ⟩ with zᵢ
            the mean activation of example i over the positions of its positive sequence).
    """

    loss: Loss | None = None
    positions: Positions = "last_prompt"
    kernel: Kernel = "identity"

    def __post_init__(self) -> None:
        """Checks the kernel and the positions."""
        check_positions(self.positions)
        one_of("kernel", self.kernel, get_args(Kernel))

    @property
    def forwards(self) -> int:
        """One forward for a kernel that depends on the input."""
        return 0 if self.kernel == "identity" else 1

    def needs(self, examples: ExampleSet) -> Needs:
        """Returns activation gradients, and for the linear kernel activations."""
        loss = self.loss or default_loss(examples)
        sides_of(loss, examples)
        gradients = frozenset({(loss, self.positions)})
        if self.kernel == "identity":
            return Needs(gradients=gradients)
        return Needs(gradients=gradients, activations=frozenset({("positive", self.positions)}))

    def solve(self, model: TransformerBridge, evidence: Evidence) -> Steering:
        """Returns the mean negative gradient, or for the linear kernel all of them."""
        loss = self.loss or default_loss(evidence.examples)
        gradients = evidence.gradients[loss, self.positions]
        if self.kernel == "identity":
            return self.static(model, evidence, -gradients.mean(1), samples=-gradients, loss=loss)
        return LinearKernelSteering(
            self.origin(model, evidence, loss=loss),
            anchors=evidence.activations["positive", self.positions],
            gradients=gradients,
        )
