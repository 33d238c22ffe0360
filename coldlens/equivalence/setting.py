"""What every check shares: a float64 view of the model, some examples and their gradient."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture import Evidence, Needs, collect
from coldlens.directions import ColdJVP
from coldlens.errors import NumericsError
from coldlens.examples.batch import pad
from coldlens.examples.example import Example, ExampleSet
from coldlens.examples.tokens import Encoded, Ids, encode
from coldlens.losses import Loss
from coldlens.models.offload import device_of
from coldlens.models.parameters import parameters
from coldlens.steering.steering import Steering

UNIT = torch.finfo(torch.float64).eps / 2
PAIR = 2
OPERATIONS = 10
"""Operations of a block that follow one another: norm, projection, rotation, scores, softmax,
mixing, projection, norm and the two maps of an MLP."""


@dataclass(frozen=True, eq=False)
class Setting:
    """What a check is given; the model is a float64 one (`in_double`).

    Attributes:
        model: The model.
        examples: The examples that were drawn, at least two.
        layers: The layers, ascending.
        few: Those of them at which the costly checks are made.
        loss: The loss of the checks that need one of the logits.
        queries: How many prompts a displacement or a kernel is read at.
        seed: Seed of whatever is random.
        progress: Whether to show progress bars.
    """

    model: TransformerBridge
    examples: ExampleSet
    layers: tuple[int, ...]
    few: tuple[int, ...]
    loss: Loss
    queries: int
    seed: int
    progress: bool

    def evidence(self, needs: Needs) -> Evidence:
        """Passes over the examples.

        Args:
            needs: What to gather.

        Returns:
            What was found.
        """
        return collect(self.model, self.examples, self.layers, needs)

    @cached_property
    def gradient(self) -> Evidence:
        """The gradient of the loss over the examples, g = ∇_θ L."""
        return self.evidence(Needs(parameter_gradients=frozenset({self.loss})))

    @cached_property
    def exact(self) -> Steering:
        """−J g for any input, by forward mode."""
        return ColdJVP(self.loss).solve(self.model, self.gradient)

    @cached_property
    def prompts(self) -> tuple[Int[Tensor, "row pos"], Bool[Tensor, "row pos"]]:
        """Token ids and mask of the shortest prompts, at which displacements are read."""
        ids = sorted({example.prompt for example in encode(self.model, self.examples)}, key=len)
        device = device_of(self.model.original_model)
        return pad(ids[: self.queries], device=device)

    @cached_property
    def pair(self) -> ExampleSet:
        """The shortest two examples that have different prompts: for the costly checks."""
        order = sorted(
            zip(encode(self.model, self.examples), self.examples, strict=True), key=_size
        )
        different = {encoded.prompt: example for encoded, example in reversed(order)}
        chosen = list(different.values())[::-1][:PAIR]
        return replace(self.examples, examples=tuple(chosen))

    @cached_property
    def pair_prompts(self) -> tuple[Ids, ...]:
        """Token ids of the prompts of `pair`."""
        return tuple(encoded.prompt for encoded in encode(self.model, self.pair))

    @cached_property
    def displacements(self) -> dict[int, Float[Tensor, "token d"]]:
        """−J_l g at every token of those prompts, by layer.

        Raises:
            NumericsError: If it is zero at a layer.
        """
        tokens, mask = self.prompts
        found = self.exact.field(tokens, mask, self.layers)
        for layer in self.layers:
            if not found[layer][mask].any():
                raise NumericsError(
                    expected="a gradient that moves the residual stream",
                    found=f"a displacement of zero at layer {layer}",
                    fix="Check that positive and negative completions differ",
                )
        return {layer: found[layer][mask] for layer in self.layers}

    @cached_property
    def rounding(self) -> float:
        """The relative error up to which two ways to compute one thing may differ by rounding.

        An inner product of n terms is off by at most n u of the sum of their sizes (Higham 2002,
        "Accuracy and Stability of Numerical Algorithms", section 3.1), u = 2⁻⁵³. With n the
        longest side of a weight or a sequence, and a chain of ten such operations a block, through
        all blocks and the unembedding and back, that is 20 (L+1) n u. Rounding errors have random
        signs and add up like the square root of their number, which leaves the rest of the bound
        for the conditioning of the maps.
        """
        longest = max(max(p.tensor.shape) for p in parameters(self.model).values())
        longest = max(
            longest, *(len(e.sequence("positive")) for e in encode(self.model, self.examples))
        )
        return 2 * OPERATIONS * (len(self.model.blocks) + 1) * longest * UNIT


def _size(entry: tuple[Encoded, Example]) -> int:
    return len(entry[0].sequence("positive"))
