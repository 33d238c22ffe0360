"""BiPO: a vector whose both directions are trained on preferences."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformer_lens.model_bridge import TransformerBridge
from transformers import get_cosine_schedule_with_warmup

from coldlens.capture import Evidence
from coldlens.checks import above_zero
from coldlens.directions.anchored import AnchoredDPO
from coldlens.directions.intervention import Objective, TrainedIntervention
from coldlens.examples.batch import Batch
from coldlens.examples.example import ExampleSet
from coldlens.losses import DPO


@dataclass(frozen=True, kw_only=True)
class BiPO(TrainedIntervention):
    """The vector v that makes +v prefer the behaviour and −v its opposite.

    ℓᵢ(v, d) = −log σ(dβ [log π(yᵢ⁺|xᵢ; Z_l+dv) − log π(yᵢ⁺|xᵢ)] − dβ [the same for yᵢ⁻]), with
    d ∈ {−1, +1} drawn for each batch, log π summed over the completion, the unsteered model as
    reference, and v from zero. Source: Cao et al. 2024, "Personalized Steering of Large Language
    Models: Versatile Steering Vectors Through Bi-directional Preference Optimization".

    Defaults as in their public code: β 0.1, AdamW with learning rate 5e-4 and no weight decay (the
    script names 0.05 but does not pass it on), batches of 4, a cosine schedule with 100 steps of
    warm-up. Their script anneals over 100 epochs and the published vectors are those of epochs 5
    to 20, on hundreds of examples; here the schedule ends after `epochs`. With few examples most
    steps may be warm-up: ⌈N / batch_size⌉ · epochs steps in all. Their trainer also clips
    gradients to norm 1, which is left out here.

    Attributes:
        beta: The temperature β > 0.
        warmup: Steps over which the learning rate rises linearly from 0.
    """

    beta: float = 0.1
    warmup: int = 100
    lr: float = 5e-4
    epochs: int = 20
    batch_size: int = 4
    needs_pairs: ClassVar[bool] = True
    signs: ClassVar[tuple[float, ...]] = (1.0, -1.0)

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        above_zero("beta", self.beta)

    def loss_of(self, examples: ExampleSet) -> DPO:
        """Returns the loss whose gradient at v = 0 is that of this one, for either d."""
        return DPO(beta=self.beta, reference="self", normalize="sum")

    def objective(self, model: TransformerBridge, evidence: Evidence) -> Objective:
        """Returns the bi-directional loss against the unsteered model, which runs once."""
        anchored = AnchoredDPO.of(model, evidence, self.loss_of(evidence.examples))

        def loss(logits: Tensor, batch: Batch, sign: float) -> Tensor:
            return -logsigmoid(sign * self.beta * anchored.gain(logits, batch))

        return loss

    def optimiser(self, weights: Sequence[Tensor], steps: int) -> tuple[Optimizer, LRScheduler]:
        """Returns AdamW, and its cosine schedule with warm-up."""
        optimiser = AdamW(list(weights), lr=self.lr, weight_decay=0.0)
        return optimiser, get_cosine_schedule_with_warmup(optimiser, self.warmup, steps)
