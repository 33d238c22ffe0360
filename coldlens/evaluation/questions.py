"""A batch of questions, run once without steering, from which any steering goes on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.errors import ExampleError, SteeringError
from coldlens.examples.batch import Batch, Side, batch_of, pad
from coldlens.examples.positions import Positions, check_positions, select
from coldlens.examples.tokens import Encoded
from coldlens.losses import answer_log_probs
from coldlens.models.forward import residuals
from coldlens.models.offload import device_of
from coldlens.models.resume import resumed
from coldlens.steering.intervention import Displacements, Intervention
from coldlens.steering.steering import Steering


@dataclass(frozen=True, eq=False)
class Reading:
    """The logits of a batch of questions.

    Attributes:
        encoded: The questions' tokens, in the order of the batch.
        batch: Rows of prompt ⊕ completion; of prompts alone where no completion is read.
        read: True at the tokens that are unembedded: the last of each prompt, and those that
            predict a token of a completion.
        logits: Shape [token, vocabulary], of these tokens, row after row.
    """

    encoded: list[Encoded]
    batch: Batch
    read: Bool[Tensor, "row pos"]
    logits: Float[Tensor, "token vocab"]

    @cached_property
    def answer(self) -> Float[Tensor, "question vocab"]:
        """The log-probabilities of the token after each prompt, in float32 or better."""
        last = _last_of(self.batch)
        last[self.batch.size :] = False
        found = self._at(last)
        return found.to(torch.promote_types(found.dtype, torch.float32)).log_softmax(-1)

    def completion(self, side: Side) -> Float[Tensor, " question"]:
        """Returns the mean log-probability of a completion's tokens, in nats.

        Args:
            side: `"positive"` or `"negative"`.

        Returns:
            One value a question.
        """
        rows = self.batch.rows(side)
        wanted = torch.zeros_like(self.read)
        wanted[rows] = self.batch.predicting[rows]
        return answer_log_probs(self._at(wanted), self.batch, side)

    def _at(self, wanted: Bool[Tensor, "row pos"]) -> Float[Tensor, "wanted vocab"]:
        return self.logits[wanted[self.read]]


class Questions:
    """Questions whose unsteered residual streams are kept.

    A steered reading adds η Δ_l to Z_l and runs the blocks after it alone, so a grid of layers
    and etas costs one whole forward and the blocks above each layer. Tokens of a completion
    count as generated: they get the displacement of the prompt's last token.
    """

    def __init__(
        self,
        model: TransformerBridge,
        encoded: Sequence[Encoded],
        sides: tuple[Side, ...],
        layers: tuple[int, ...],
    ) -> None:
        """Runs the questions once without steering.

        Args:
            model: The model.
            encoded: The questions' tokens.
            sides: Which completions are read; none for the prompts alone.
            layers: The layers that will be steered.
        """
        self.model = model
        device = device_of(model.original_model)
        self._prompts, self._prompt_mask = pad([one.prompt for one in encoded], device=device)
        if sides:
            self.batch = batch_of(encoded, range(len(encoded)), sides, device=device)
        else:
            none = torch.zeros_like(self._prompt_mask)
            index = tuple(range(len(encoded)))
            self.batch = Batch(
                self._prompts, self._prompt_mask, self._prompt_mask, none, ("positive",), index
            )
        read = _last_of(self.batch) | self.batch.predicting
        with torch.no_grad():
            self._streams, logits = residuals(
                model, self.batch.tokens, self.batch.attention_mask, layers, logits=read
            )
        assert logits is not None
        self.unsteered = Reading(list(encoded), self.batch, read, logits)

    def displacements(self, steering: Steering, layers: tuple[int, ...]) -> Displacements:
        """Computes Δ_l at every token, for all layers at once.

        Args:
            steering: The steering.
            layers: Some of the layers that were run.

        Returns:
            By layer, shape [row, pos, d_model].
        """
        rows, width = self._prompts.shape
        streams = {layer: self._streams[layer][:rows, :width] for layer in layers}
        found = steering.begin_field(self._prompts, self._prompt_mask, layers)(streams)
        return {layer: self._spread(change) for layer, change in found.items()}

    def steered(
        self,
        change: Float[Tensor, "row pos d"],
        layer: int,
        etas: Sequence[float],
        positions: Positions,
        together: int = 1,
    ) -> Iterator[Reading]:
        """Reads the questions with η Δ_l added at one layer, for several η.

        Args:
            change: Δ_l, as `displacements` returned it.
            layer: The layer.
            etas: Step sizes.
            positions: Where.
            together: How many of them share a forward pass.

        Yields:
            A reading for each step size.
        """
        batch, stream, read = self.batch, self._streams[layer], self.unsteered.read
        mask = steered_mask(positions, batch)
        for start in range(0, len(etas), together):
            here = [Intervention((layer,), eta, mask) for eta in etas[start : start + together]]
            tokens, attended, wanted = (
                part.repeat(len(here), 1) for part in (batch.tokens, batch.attention_mask, read)
            )
            with torch.no_grad():
                moved = torch.cat([one.applied(layer, stream, change) for one in here])
                logits = resumed(self.model, tokens, attended, layer, moved, wanted)
            for part in logits.chunk(len(here)):
                yield replace(self.unsteered, logits=part)

    def steered_jointly(
        self, steering: Steering, layers: tuple[int, ...], eta: float, positions: Positions
    ) -> Reading:
        """Reads the questions with several layers steered, each given the earlier ones.

        Args:
            steering: The steering.
            layers: The layers, ascending.
            eta: Step size.
            positions: Where.

        Returns:
            The reading.
        """
        width = self._prompts.shape[1]
        mask = steered_mask(positions, self.batch)
        prompts = (mask & self.batch.prompt_mask)[: self.batch.size, :width]
        given = Intervention(layers, eta, prompts)
        changes = steering.field(self._prompts, self._prompt_mask, layers, given)
        require_motion(changes)
        everywhere = Intervention(layers, eta, mask)

        def edit(layer: int, residual: Tensor) -> Tensor:
            return everywhere.applied(layer, residual, self._spread(changes[layer]))

        with torch.no_grad():
            _, logits = residuals(
                self.model,
                self.batch.tokens,
                self.batch.attention_mask,
                layers,
                edit=edit,
                logits=self.unsteered.read,
            )
        assert logits is not None
        return replace(self.unsteered, logits=logits)

    def _spread(self, change: Float[Tensor, "question prompt d"]) -> Float[Tensor, "row pos d"]:
        rows, width = self.batch.tokens.shape
        last = self._prompt_mask.sum(1) - 1
        index = torch.arange(width, device=last.device).expand(self.batch.size, width)
        index = index.minimum(last.unsqueeze(1))
        spread = change.gather(1, index.unsqueeze(-1).expand(-1, -1, change.shape[-1]))
        return spread.repeat(rows // self.batch.size, 1, 1)


def _last_of(batch: Batch) -> Bool[Tensor, "row pos"]:
    return select("last_prompt", batch.prompt_mask, batch.answer_mask)


def require_motion(changes: Displacements) -> None:
    """Checks that no displacement is zero throughout.

    Args:
        changes: By layer.

    Raises:
        SteeringError: If one is.
    """
    for layer, change in changes.items():
        if not change.any():
            raise SteeringError(
                expected=f"a displacement at layer {layer} that is not zero",
                found="zero: steering would do nothing",
                fix="For ColdKernel choose positions whose gradient is not zero",
            )


def steered_mask(positions: Positions, batch: Batch) -> Bool[Tensor, "row pos"]:
    """Resolves the steered positions of questions whose completions count as generated.

    Args:
        positions: The selection, as in `Steering.apply`.
        batch: The questions.

    Returns:
        True at the steered tokens.
    """
    check_positions(positions, generating=True)
    if positions not in ("generated", "first_generated"):
        answer = batch.answer_mask
        return select(positions, batch.prompt_mask, answer)
    mask = batch.answer_mask
    return mask & (mask.cumsum(1) == 1) if positions == "first_generated" else mask


def require_read_back(
    positions: Positions, name: str, encoded: Sequence[Encoded], sides: tuple[Side, ...]
) -> None:
    """Checks that steered generated tokens are read back before an answer ends.

    Args:
        positions: Where, as in `Steering.apply`.
        name: What the questions are called.
        encoded: Their tokens.
        sides: Which completions are read; none for the token after the prompt alone.

    Raises:
        ExampleError: If generated tokens are steered and no answer that is read has a second one.
    """
    sizes = [len(one.sequence(side)) - len(one.prompt) for one in encoded for side in sides]
    if positions in ("generated", "first_generated") and max(sizes, default=0) < 2:
        raise ExampleError(
            expected=f"positions that are steered before an answer of {name!r} is read",
            found=f"{positions!r}, with answers of one token: it is read before it is generated",
            fix='Use positions="prompt", "last_prompt" or "all"',
        )
