"""What the trained interventions share: one layer at a time, through the frozen model."""

import logging
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm.auto import tqdm
from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture import Evidence, Needs
from coldlens.directions.trained import Trained, frozen, require_logit_loss
from coldlens.examples.batch import Batch, Side, batch_of, batches
from coldlens.examples.example import ExampleSet
from coldlens.examples.positions import Positions, check_positions, select
from coldlens.losses import Loss, sides_of
from coldlens.models.forward import residuals
from coldlens.models.offload import device_of
from coldlens.models.resume import resumed
from coldlens.steering.steering import Origin, Steering
from coldlens.steering.trained import TrainedVector, Weights

logger = logging.getLogger(__name__)

Objective = Callable[[Float[Tensor, "row pos vocab"], Batch, float], Float[Tensor, " example"]]
"""(logits, batch, sign of the intervention) → loss of each example."""


@dataclass(frozen=True, kw_only=True)
class TrainedIntervention(Trained):
    """A change of Z_l, trained through the frozen model: a vector unless a method says otherwise.

    Each layer is trained alone, as the only intervention, in a training of its own with the same
    seed: L trainings for L layers. The blocks up to the layer run once; gradients flow from the
    logits down to the layer and no further; the model's parameters get none. It computes in
    float32 or better.

    Attributes:
        positions: Where the change is added in training, of prompt and completion.
    """

    positions: Positions = "all"
    signs: ClassVar[tuple[float, ...]] = (1.0,)

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        check_positions(self.positions)

    def layer_passes(self, width: int) -> int:
        """Returns one pass an epoch."""
        return self.epochs

    @abstractmethod
    def loss_of(self, examples: ExampleSet) -> Loss:
        """Returns the loss whose gradient the first step follows.

        Args:
            examples: The examples.

        Returns:
            A loss of the logits.
        """

    @abstractmethod
    def objective(self, model: TransformerBridge, evidence: Evidence) -> Objective:
        """Builds what is trained on; the model has its accurate parameters here.

        Args:
            model: The model.
            evidence: The examples.

        Returns:
            The loss of some examples from their logits.
        """

    def start(self, width: int, generator: torch.Generator) -> Weights:
        """Draws the initial weights of a layer, with which the change is zero.

        Args:
            width: d_model.
            generator: The source of randomness.

        Returns:
            The weights, float64: here a vector of zeros.
        """
        return {"vector": torch.zeros(width, dtype=torch.float64)}

    def change(self, weights: Weights, residual: Float[Tensor, "row pos d"]) -> Tensor:
        """Computes the change.

        Args:
            weights: The weights of a layer.
            residual: Z_l.

        Returns:
            What is added to Z_l, of a shape that broadcasts with it: here the vector.
        """
        return weights["vector"]

    def steering(
        self, origin: Origin, weights: Weights, losses: Float[Tensor, "layer epoch 2"]
    ) -> Steering:
        """Wraps what was trained.

        Args:
            origin: Model, layers, provenance, policy and prompts.
            weights: The weights of all layers along a first axis.
            losses: Mean loss a layer and epoch, of the examples trained on and held out.

        Returns:
            The steering: here a static one, without a coherence since no vectors were averaged.
        """
        vectors = weights["vector"]
        unknown = vectors.new_full((len(vectors),), float("nan"))
        return TrainedVector(origin, vectors, unknown, losses)

    def needs(self, examples: ExampleSet) -> Needs:
        """Returns the gradient of the first step, in whose pass the loss is checked."""
        loss = self.loss_of(examples)
        require_logit_loss(loss)
        sides_of(loss, examples)
        return Needs(gradients=frozenset({(loss, self.positions)}))

    @torch.inference_mode(False)
    def solve(self, model: TransformerBridge, evidence: Evidence) -> Steering:
        """Returns the interventions of all layers, each trained alone."""
        trained: list[Weights] = []
        curves: list[Tensor] = []
        with frozen(model):
            objective = self.objective(model, evidence)
            for layer in tqdm(evidence.layers, desc=self.label, disable=not evidence.progress):
                weights, curve = self._train_layer(model, evidence, objective, layer)
                trained.append(weights)
                curves.append(curve)
                if self.held_out:
                    trained_for = curve[curve.isfinite().all(1)].tolist()
                    logger.info(
                        "%s, layer %d: losses by epoch, of examples trained on and held out: %s",
                        self.label,
                        layer,
                        trained_for,
                    )
        stacked = {name: torch.stack([one[name] for one in trained]) for name in trained[0]}
        origin = self.origin(model, evidence, loss=self.loss_of(evidence.examples))
        return self.steering(origin, stacked, torch.stack(curves))

    def _train_layer(
        self, model: TransformerBridge, evidence: Evidence, objective: Objective, layer: int
    ) -> tuple[Weights, Float[Tensor, "epoch 2"]]:
        generator = torch.Generator().manual_seed(self.seed)
        device = device_of(model.original_model)
        dtype = next(model.original_model.parameters()).dtype
        weights = {
            name: value.to(device, dtype).requires_grad_()
            for name, value in self.start(model.cfg.d_model, generator).items()
        }
        sides = sides_of(self.loss_of(evidence.examples), evidence.examples)
        streams = _streams(model, evidence, sides, layer)

        def losses(index: Sequence[int], sign: float) -> Tensor:
            batch = batch_of(evidence.encoded, index, sides, device=device)
            mask = select(self.positions, batch.prompt_mask, batch.answer_mask).unsqueeze(-1)
            residual = pad_sequence([streams[row] for row in product(sides, index)], True)
            moved = residual + sign * mask * self.change(weights, residual)
            logits = resumed(model, batch.tokens, batch.attention_mask, layer, moved)
            return objective(logits, batch, sign)

        curve = self.train(
            list(weights.values()), losses, len(evidence.encoded), generator, self.signs
        )
        return {name: value.detach() for name, value in weights.items()}, curve


def _streams(
    model: TransformerBridge, evidence: Evidence, sides: tuple[Side, ...], layer: int
) -> dict[tuple[Side, int], Float[Tensor, "pos d"]]:
    """Returns Z_l of each completion of each example, without padding."""
    device = device_of(model.original_model)
    found = {}
    for batch in batches(evidence.encoded, sides, evidence.batch_size, device=device):
        with torch.no_grad():
            residual = residuals(model, batch.tokens, batch.attention_mask, [layer])[0][layer]
        for row, place in enumerate(product(batch.sides, batch.index)):
            found[place] = residual[row, batch.attention_mask[row]]
    return found
