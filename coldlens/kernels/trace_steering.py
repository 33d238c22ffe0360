"""COLD-Kernel with the trace of the empirical NTK as a scalar kernel."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from coldlens.errors import ArgumentError
from coldlens.examples.example import Example, ExampleSet, Text
from coldlens.examples.tokens import Ids, encode_prompts
from coldlens.kernels.ntk import EmpiricalNTK
from coldlens.steering.intervention import Displacements, Intervention
from coldlens.steering.steering import Origin, Steering


@dataclass(frozen=True, eq=False, repr=False)
class TraceKernelSteering(Steering):
    """Δ_l(x)[s] = −(1/N) Σᵢ (tr K_l((x,s),(xᵢ,s_i))/d) ∂ᵢ[s_i], s_i the last prompt token.

    Dear: each call takes d_model rows of cotangents back through the prompt of every example, and
    as many through every prefix x[: s + 1] of each input, or through x alone where only its last
    token is read. A row costs about a forward, so N prompts cost about d_model · N forwards a
    layer and call, and an input of T tokens d_model · T more. The examples are swept anew in every
    call, since their cotangents are too many to keep.

    Attributes:
        gradients: ∂ᵢ[s_i], shape [layer, example, d_model].
    """

    gradients: Float[Tensor, "layer example d"]

    def field(
        self,
        tokens: Int[Tensor, "row pos"],
        attention_mask: Bool[Tensor, "row pos"],
        layers: tuple[int, ...],
        intervention: Intervention | None = None,
    ) -> Displacements:
        """Returns the displacement at every token s, read as the last one of x[: s + 1].

        Args:
            tokens: Token ids.
            attention_mask: True at real tokens.
            layers: Some of the fitted layers, ascending.
            intervention: What else is steered.

        Returns:
            A displacement a layer; zero at padding.

        Raises:
            ArgumentError: If several layers are steered at once.
        """
        if intervention is not None and len(intervention.layers) > 1:
            raise ArgumentError(
                expected="one steered layer for the trace of the empirical NTK",
                found=f"layers {list(intervention.layers)}",
                fix='Steer one layer, or use ColdKernel(kernel="entk")',
            )
        rows = [tuple(ids[real].tolist()) for ids, real in zip(tokens, attention_mask, strict=True)]
        prefixes = [ids[: stop + 1] for ids in rows for stop in range(len(ids))]
        found: Displacements = {}
        for layer, values in self._at_last(prefixes, layers).items():
            found[layer] = values.new_zeros(*tokens.shape, values.shape[-1])
            found[layer][attention_mask] = values
        return found

    def readings(self, prompts: Sequence[Text] | None = None) -> Float[Tensor, "layer prompt d"]:
        """Returns the displacement at the last token of each prompt, and computes no other."""
        self.check_model(self.model)
        chosen = self.prompts if prompts is None else prompts
        ids = encode_prompts(self.model, chosen, self.origin.policy)
        found = self._at_last(ids, self.layers)
        return torch.stack([found[layer] for layer in self.layers])

    def _at_last(
        self, prompts: Sequence[Ids], layers: tuple[int, ...]
    ) -> dict[int, Float[Tensor, "prompt d"]]:
        # The kernel is taken at the end of the prompts, so the completions do not matter.
        fitted = ExampleSet(tuple(Example(ids, ids[-1:]) for ids in self.prompts))
        kernel = EmpiricalNTK(self.model, prompts, fitted, layers, positions="last_prompt")
        count, width = self.gradients.shape[1:]
        found = {}
        for layer in layers:
            weights = kernel.traces(layer).to(self.gradients.dtype) / width
            found[layer] = -(weights @ self.gradients[self.place(layer)]) / count
        return found

    def tensors(self) -> dict[str, Tensor]:
        """Returns the gradients of the examples."""
        return {"gradients": self.gradients}

    @classmethod
    def restore(
        cls, origin: Origin, tensors: dict[str, Tensor], settings: dict[str, float]
    ) -> "TraceKernelSteering":
        """Returns the steering of saved tensors; see `Steering.restore`."""
        return cls(origin, tensors["gradients"])
