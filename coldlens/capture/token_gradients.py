"""Activation gradients of one example at every token, not reduced over positions."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture.collect import run_batch
from coldlens.capture.gathered import Gathered
from coldlens.capture.needs import Needs
from coldlens.errors import NumericsError
from coldlens.examples.batch import BOTH, Batch, Side, batch_of
from coldlens.examples.tokens import Encoded, Ids
from coldlens.losses import Loss, loss_name
from coldlens.models.casting import cast
from coldlens.models.guards import require_decoder, require_eval, working_dtype
from coldlens.models.parameters import exchanged, parameters


@dataclass(frozen=True)
class TokenGradients:
    """∂ℓᵢ/∂Z_l at every token of every sequence that the loss of example i reads.

    Attributes:
        tokens: Token ids of prompt ⊕ completion, by side.
        gradients: By side and layer, one gradient a token, in float32 or better; zero where the
            loss treats a sequence as a constant.
        prompt_length: Tokens of the prompt, which every sequence begins with.
    """

    tokens: dict[Side, Ids]
    gradients: dict[Side, dict[int, Float[Tensor, "pos d"]]]
    prompt_length: int

    def at_last_prompt(self, layer: int) -> Float[Tensor, " d"]:
        """Returns the gradient at the last prompt token, summed over the sequences.

        There the residual stream is the same in all of them.

        Args:
            layer: One of the layers.

        Returns:
            Shape [d_model].
        """
        last = self.prompt_length - 1
        return torch.stack([found[layer][last] for found in self.gradients.values()]).sum(0)


@torch.inference_mode(False)
def token_gradients(
    model: TransformerBridge,
    example: Encoded,
    loss: Loss,
    layers: Sequence[int],
    *,
    sides: tuple[Side, ...] | None = None,
) -> TokenGradients:
    """Computes ∂ℓᵢ/∂Z_l[t] for all tokens and layers by one forward and one backward.

    The model computes in float32 or better, whatever its dtype.

    Args:
        model: The model, in evaluation mode; nothing of it is changed.
        example: Token ids.
        loss: The loss; one of the residual stream is another loss at every layer.
        layers: 0-based blocks.
        sides: The completions that the loss reads, as `sides_of` gives them for the whole set; by
            default those that the loss names, or else all that the example has.

    Returns:
        The gradients.

    Raises:
        NumericsError: If one is not finite.
    """
    require_decoder(model)
    require_eval(model)
    ascending = tuple(sorted(layers))
    if sides is None:
        available = BOTH if example.negative is not None else BOTH[:1]
        sides = tuple(getattr(loss, "sides", available))
    known = {name: found.tensor.detach() for name, found in parameters(model).items()}
    dtype = working_dtype(model)
    values = {
        name: cast(value, dtype) for name, value in known.items() if value.is_floating_point()
    }
    device = next(iter(values.values())).device
    batch = batch_of([example], [0], sides, device=device)
    needs = Needs(gradients=frozenset({(loss, "all")}))
    kept = _Kept(model, ascending, needs, 1)
    with exchanged(model, values):
        run_batch(model, batch, ascending, needs, {}, kept)
    tokens: dict[Side, Ids] = {side: example.sequence(side) for side in sides}
    gradients: dict[Side, dict[int, Tensor]] = {side: {} for side in sides}
    for layer, gradient in kept.found.items():
        if gradient is None:
            gradient = torch.zeros(*batch.tokens.shape, model.cfg.d_model, device=device)
        if not gradient.isfinite().all():
            raise NumericsError(
                expected=f"finite activation gradients of {loss_name(loss)}",
                found=f"inf or nan at layer {layer}",
                fix="Check the example, or load the model in float32",
            )
        for side in sides:
            row = batch.rows(side).start
            gradients[side][layer] = gradient[row, : len(tokens[side])].to(working_dtype(model))
    return TokenGradients(tokens, gradients, len(example.prompt))


class _Kept(Gathered):
    """Keeps the gradients of a batch at every position, in place of their sums."""

    found: dict[int, Tensor | None]

    def add_gradients(self, loss: Loss, batch: Batch, found: Sequence[Tensor | None]) -> None:
        """Keeps one gradient a layer; None where the loss does not depend on it."""
        self.found = dict(zip(self._layers, found, strict=True))
