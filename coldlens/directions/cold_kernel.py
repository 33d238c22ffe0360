"""COLD-Kernel: the examples' activation gradients, weighted by a kernel between inputs."""

from dataclasses import dataclass
from typing import Literal, get_args

from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture import Evidence, Needs
from coldlens.capture.token_gradients import token_gradients
from coldlens.checks import one_of
from coldlens.directions.method import Method
from coldlens.errors import ArgumentError
from coldlens.examples.example import ExampleSet
from coldlens.examples.positions import Positions, check_positions
from coldlens.kernels.products import mean_pullback
from coldlens.kernels.trace_steering import TraceKernelSteering
from coldlens.losses import Loss, default_loss, sides_of
from coldlens.models.guards import require_eager, require_raw
from coldlens.steering.kernel import LinearKernelSteering, TangentKernelSteering
from coldlens.steering.steering import Steering

Kernel = Literal["identity", "linear", "entk", "entk_trace"]


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
        kernel: `"identity"` (κ = 1: a static vector), `"linear"` (κ = ⟨Z_l(x)[s], zᵢ⟩ with zᵢ
            the mean activation of example i over the positions of its positive sequence),
            `"entk"` (each token t of the positions with the d×d block K_l((x,s),(xᵢ,t)) of the
            empirical NTK; at `"all"` positions that is ColdJVP but for the unembedding's part of
            a tied embedding) or `"entk_trace"` (κ = tr K_l/d at the last prompt tokens).
    """

    loss: Loss | None = None
    positions: Positions = "last_prompt"
    kernel: Kernel = "identity"

    def __post_init__(self) -> None:
        """Checks the kernel and the positions.

        Raises:
            ArgumentError: If the trace of the empirical NTK is asked for at other positions than
                the last prompt token.
        """
        check_positions(self.positions)
        one_of("kernel", self.kernel, get_args(Kernel))
        if self.kernel == "entk_trace" and self.positions != "last_prompt":
            raise ArgumentError(
                expected='positions "last_prompt" for kernel "entk_trace"',
                found=f"positions = {self.positions!r}",
                fix='Use kernel="entk" for other positions',
            )

    @property
    def forwards(self) -> int:
        """One forward for the linear kernel."""
        return 1 if self.kernel == "linear" else 0

    def layer_forwards(self, width: int) -> int:
        """Returns those of a dual forward, or for `"entk_trace"` a pass back a coordinate."""
        return {"entk": 4, "entk_trace": width}.get(self.kernel, 0)

    @property
    def extra_passes(self) -> int:
        """For `"entk"` a pass for the gradient at each token."""
        return 1 if self.kernel == "entk" else 0

    def layer_passes(self, width: int) -> int:
        """Returns one that pulls these gradients back, or for `"entk_trace"` one a coordinate."""
        return {"entk": 1, "entk_trace": width}.get(self.kernel, 0)

    def check(self, model: TransformerBridge, examples: ExampleSet) -> None:
        """Also checks what the empirical NTK needs: own parameters, and for `"entk"` attention."""
        super().check(model, examples)
        if self.kernel in {"entk", "entk_trace"}:
            require_raw(model, self.label)
        if self.kernel == "entk":
            require_eager(model, self.label)

    def needs(self, examples: ExampleSet) -> Needs:
        """Returns activation gradients, and for the linear kernel activations."""
        loss = self.loss or default_loss(examples)
        sides_of(loss, examples)
        gradients = frozenset({(loss, self.positions)})
        if self.kernel == "linear":
            return Needs(gradients=gradients, activations=frozenset({("positive", self.positions)}))
        return Needs(gradients=gradients)

    def solve(self, model: TransformerBridge, evidence: Evidence) -> Steering:
        """Returns the mean negative gradient, or what weights the gradients for each input."""
        loss = self.loss or default_loss(evidence.examples)
        if self.kernel == "entk":
            return self._tangent_kernel(model, evidence, loss)
        gradients = evidence.gradients[loss, self.positions]
        if self.kernel == "identity":
            return self.static(model, evidence, -gradients.mean(1), samples=-gradients, loss=loss)
        origin = self.origin(model, evidence, loss=loss)
        if self.kernel == "entk_trace":
            return TraceKernelSteering(origin, gradients)
        anchors = evidence.activations["positive", self.positions]
        return LinearKernelSteering(origin, anchors=anchors, gradients=gradients)

    def _tangent_kernel(
        self, model: TransformerBridge, evidence: Evidence, loss: Loss
    ) -> TangentKernelSteering:
        sides, layers = sides_of(loss, evidence.examples), evidence.layers
        gradients = [
            token_gradients(model, example, loss, layers, sides=sides)
            for example in evidence.encoded
        ]
        directions = {
            layer: mean_pullback(model, layer, gradients, self.positions) for layer in layers
        }
        return TangentKernelSteering(self.origin(model, evidence, loss=loss), directions)
