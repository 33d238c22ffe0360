"""The model itself as the reference of DPO, held where it was as training moves on."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid
from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture import Evidence
from coldlens.directions.trained import frozen
from coldlens.examples.batch import BOTH, Batch, Side, batches
from coldlens.losses import DPO, Loss
from coldlens.models.forward import residuals
from coldlens.models.guards import working_dtype
from coldlens.models.offload import device_of


@dataclass(frozen=True, eq=False)
class AnchoredDPO:
    """ℓᵢ = −log σ(β (m(yᵢ⁺) − m(yᵢ⁻) − rᵢ)), rᵢ the margin of the unsteered model at θ₀.

    Where nothing has moved yet, its value and its gradient are those of `DPO(reference="self")`.

    Attributes:
        loss: β, and how m is normalised.
        reference: rᵢ by the example's place in the set.
    """

    loss: DPO
    reference: Float[Tensor, " example"] = field(repr=False)
    sides: ClassVar[tuple[Side, ...]] = BOTH
    reads_completion: ClassVar[bool] = True

    @classmethod
    def of(cls, model: TransformerBridge, evidence: Evidence, loss: DPO) -> "AnchoredDPO":
        """Computes the reference, in float32 or better.

        Args:
            model: The model, at θ₀.
            evidence: The examples, of which the loss will be called with batches.
            loss: β, and how m is normalised.

        Returns:
            The loss.
        """
        device = device_of(model.original_model)
        shape, dtype = len(evidence.encoded), working_dtype(model)
        reference = torch.empty(shape, dtype=dtype, device=device)
        with frozen(model), torch.no_grad():
            for batch in batches(evidence.encoded, BOTH, evidence.batch_size, device=device):
                _, logits = residuals(model, batch.tokens, batch.attention_mask, (), logits=True)
                assert logits is not None
                reference.index_copy_(0, _index(batch), loss.margin(logits, batch))
        return cls(loss, reference)

    def gain(
        self, logits: Float[Tensor, "row pos vocab"], batch: Batch
    ) -> Float[Tensor, " example"]:
        """Returns m(yᵢ⁺) − m(yᵢ⁻) − rᵢ of each example, in nats."""
        return self.loss.margin(logits, batch) - self.reference[_index(batch)]

    def __call__(
        self, logits: Float[Tensor, "row pos vocab"], batch: Batch
    ) -> Float[Tensor, " example"]:
        """Returns the loss of each example."""
        return -logsigmoid(self.loss.beta * self.gain(logits, batch))


def anchored(model: TransformerBridge, evidence: Evidence, loss: Any) -> Loss:
    """Gives a loss that refers to the model itself a reference that stays at θ₀.

    `DPO(reference="self")` takes the margin of each call as its reference. For the gradient at θ₀
    that is exact; after the first step the reference would move along.

    Args:
        model: The model, at θ₀.
        evidence: The examples.
        loss: Any loss.

    Returns:
        `AnchoredDPO` for a `DPO(reference="self")`; any other loss, also a subclass, as it is.
    """
    if type(loss) is DPO and loss.reference == "self":
        return AnchoredDPO.of(model, evidence, loss)
    return loss


def _index(batch: Batch) -> Int[Tensor, " example"]:
    return torch.tensor(batch.index, device=batch.tokens.device)
