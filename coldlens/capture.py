"""One pass over the examples: activations, activation gradients and parameter gradients.

Every method says what it `Needs`; `collect` gathers the union in a single streaming pass, in
which each batch is run forward once and backward once per loss, for all layers together. What is
kept per example is already reduced over positions, so memory does not grow with their length.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm
from transformer_lens.model_bridge import TransformerBridge

from coldlens.errors import ArgumentError, NumericsError
from coldlens.examples.batch import Batch, Side, batches
from coldlens.examples.example import ExampleSet
from coldlens.examples.positions import Positions, check_positions, select
from coldlens.examples.tokens import Encoded, encode
from coldlens.losses import Loss, loss_name, masked_mean, reads_residual, sides_of
from coldlens.models.forward import residuals
from coldlens.models.guards import require_decoder, require_eval, working_dtype
from coldlens.models.parameters import exchanged, parameters, upstream


@dataclass(frozen=True)
class Needs:
    """What a method reads from the examples.

    Attributes:
        activations: (side, positions): Z_l averaged over those positions, per example.
        gradients: (loss, positions): ∂ℓᵢ/∂Z_l summed over those positions of all sequences that
            the loss reads, per example.
        parameter_gradients: Losses whose gradient g = (1/N) Σᵢ ∇_θ ℓᵢ is wanted.
    """

    activations: frozenset[tuple[Side, Positions]] = frozenset()
    gradients: frozenset[tuple[Loss, Positions]] = frozenset()
    parameter_gradients: frozenset[Loss] = frozenset()

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
        found = {loss for loss, _ in self.gradients} | self.parameter_gradients
        return sorted(found, key=loss_name)


@dataclass(frozen=True)
class Evidence:
    """What one pass over the examples found.

    Attributes:
        examples: The examples.
        encoded: Their token ids.
        layers: The layers that were read.
        activations: Z_l averaged over positions, by (side, positions); shape [layer, example, d].
        gradients: ∂ℓᵢ/∂Z_l summed over positions, by (loss, positions); the same shape.
        parameter_gradients: g by loss and parameter name, for the parameters upstream of the
            deepest layer that the loss depends on.
        losses: ℓᵢ by loss, shape [example].
    """

    examples: ExampleSet
    encoded: list[Encoded]
    layers: tuple[int, ...]
    activations: dict[tuple[Side, Positions], Float[Tensor, "layer example d"]]
    gradients: dict[tuple[Any, Positions], Float[Tensor, "layer example d"]]
    parameter_gradients: dict[Any, dict[str, Tensor]]
    losses: dict[Any, Float[Tensor, " example"]] = field(default_factory=dict)


@torch.inference_mode(False)
def collect(
    model: TransformerBridge,
    examples: ExampleSet,
    layers: tuple[int, ...],
    needs: Needs,
    *,
    batch_size: int = 8,
    at: Mapping[str, Tensor] | None = None,
    differentiate: Iterable[str] | None = None,
    progress: bool = False,
) -> Evidence:
    """Gathers everything that is needed in one pass over the examples.

    Only the part of the graph that is asked for is built: without parameter gradients it begins
    at the shallowest layer, without a loss there is none and the forward stops at the deepest
    layer. Sums are accumulated in float32 or better.

    Args:
        model: The model; its parameters, their `.grad` and `requires_grad` stay as they are.
        examples: The examples.
        layers: 0-based blocks, ascending.
        needs: What to gather.
        batch_size: Examples a batch; it changes memory and speed, not results.
        at: Parameter values to compute at instead of the model's own, by name.
        differentiate: Names of the parameters that g covers; by default those upstream of the
            deepest layer.
        progress: Show a progress bar.

    Returns:
        What was found.

    Raises:
        ArgumentError: If a parameter gradient of a residual-stream loss is asked for, a loss
            returns a wrong shape, or the batch size is not positive.
        NumericsError: If an activation, a loss or a gradient is not finite.
    """
    require_decoder(model)
    require_eval(model)
    if batch_size < 1:
        raise ArgumentError(
            expected="batch_size >= 1", found=f"batch_size = {batch_size}", fix="8 is the default"
        )
    for _, positions in needs.activations | needs.gradients:
        check_positions(positions)
    for loss in needs.parameter_gradients:
        if reads_residual(loss):
            raise ArgumentError(
                expected="a loss of the logits for a parameter gradient",
                found=f"{loss_name(loss)}, which is another loss at every layer",
                fix="Use it with ColdKernel, or choose CrossEntropy or DPO",
            )
    encoded = encode(model, examples)
    sides = _sides(needs, examples)
    known = parameters(model)
    values = {**{name: p.tensor.detach() for name, p in known.items()}, **(at or {})}
    leaves: dict[str, Tensor] = {}
    if needs.parameter_gradients:
        names = upstream(model, max(layers)) if differentiate is None else differentiate
        leaves = {name: values[name].detach().requires_grad_() for name in names}
    gathered = _Gathered(model, layers, needs, len(examples))
    device = next(iter(values.values())).device
    loader = batches(encoded, sides, batch_size, device=device)
    total = -(-len(encoded) // batch_size)
    with exchanged(model, {**values, **leaves}):
        for batch in tqdm(loader, total=total, desc="examples", disable=not progress):
            _run_batch(model, batch, layers, needs, leaves, gathered)
    return gathered.evidence(examples, encoded)


def _sides(needs: Needs, examples: ExampleSet) -> tuple[Side, ...]:
    wanted = {side for side, _ in needs.activations}
    for loss in needs.losses:
        wanted |= set(sides_of(loss, examples))
    order: tuple[Side, ...] = ("positive", "negative")
    return tuple(side for side in order if side in wanted)


def _run_batch(
    model: TransformerBridge,
    batch: Batch,
    layers: tuple[int, ...],
    needs: Needs,
    leaves: Mapping[str, Tensor],
    gathered: "_Gathered",
) -> None:
    losses = [loss for loss in needs.losses if not reads_residual(loss)]
    cut = min(layers) if losses and not leaves else None

    def edit(layer: int, residual: Tensor) -> Tensor | None:
        return residual.detach().requires_grad_() if layer == cut else None

    with torch.set_grad_enabled(bool(losses)):
        streams, logits = residuals(
            model, batch.tokens, batch.attention_mask, layers, edit=edit, logits=bool(losses)
        )
    gathered.add_activations(batch, streams)
    for loss in needs.losses:
        if reads_residual(loss):
            gathered.add_residual_loss(loss, batch, streams)
    for place, loss in enumerate(losses):
        assert logits is not None
        with torch.enable_grad():
            value = loss(logits, batch)
        gathered.add_loss(loss, batch, value)
        streams_wanted = list(streams.values()) if gathered.positions(loss) else []
        leaves_wanted = dict(leaves) if loss in needs.parameter_gradients else {}
        found = torch.autograd.grad(
            value.sum(),
            [*streams_wanted, *leaves_wanted.values()],
            retain_graph=place < len(losses) - 1,
            allow_unused=True,
        )
        gathered.add_gradients(loss, batch, found[: len(streams_wanted)])
        gathered.add_parameter_gradients(
            loss, dict(zip(leaves_wanted, found[len(streams_wanted) :], strict=True))
        )


class _Gathered:
    """Accumulates the reductions of the batches, in float32 or better."""

    def __init__(
        self, model: TransformerBridge, layers: tuple[int, ...], needs: Needs, count: int
    ) -> None:
        self._layers, self._needs, self._count = layers, needs, count
        self._dtype = working_dtype(model)
        device = next(model.original_model.parameters()).device
        shape = (len(layers), count, model.cfg.d_model)
        options = {"dtype": self._dtype, "device": device}
        self._activations = {key: torch.zeros(shape, **options) for key in needs.activations}
        self._gradients = {key: torch.zeros(shape, **options) for key in needs.gradients}
        self._losses = {
            loss: torch.zeros(count, **options) for loss in needs.losses if not reads_residual(loss)
        }
        self._parameters: dict[Any, dict[str, Tensor]] = {
            loss: {} for loss in needs.parameter_gradients
        }

    def positions(self, loss: Loss) -> list[Positions]:
        return [positions for other, positions in self._gradients if other == loss]

    def add_activations(self, batch: Batch, streams: dict[int, Tensor]) -> None:
        for (side, positions), out in self._activations.items():
            mask = select(positions, batch.prompt_mask, batch.answer_mask)[batch.rows(side)]
            for place, layer in enumerate(self._layers):
                stream = streams[layer].detach()[batch.rows(side)].to(self._dtype)
                out[place, list(batch.index)] = masked_mean(stream, mask)

    def add_residual_loss(self, loss: Loss, batch: Batch, streams: dict[int, Tensor]) -> None:
        found = []
        for layer in self._layers:
            with torch.enable_grad():
                stream = streams[layer].detach().requires_grad_()
                value = loss(stream, batch).sum()
            found.append(torch.autograd.grad(value, stream)[0])
        self.add_gradients(loss, batch, found)

    def add_loss(self, loss: Loss, batch: Batch, value: Tensor) -> None:
        if value.shape != (batch.size,):
            raise ArgumentError(
                expected=f"{loss_name(loss)} to return one loss an example, shape ({batch.size},)",
                found=f"shape {tuple(value.shape)}",
                fix="Reduce over tokens, not over examples",
            )
        self._losses[loss][list(batch.index)] = value.detach().to(self._dtype)

    def add_gradients(self, loss: Loss, batch: Batch, found: Iterable[Tensor | None]) -> None:
        gradients = list(found)
        for positions in self.positions(loss):
            mask = select(positions, batch.prompt_mask, batch.answer_mask).unsqueeze(-1)
            for place, gradient in enumerate(gradients):
                if gradient is None:
                    continue
                summed = (gradient.to(self._dtype) * mask).sum(1)
                per_example = summed.unflatten(0, (len(batch.sides), batch.size)).sum(0)
                self._gradients[loss, positions][place, list(batch.index)] = per_example

    def add_parameter_gradients(self, loss: Loss, found: Mapping[str, Tensor | None]) -> None:
        for name, gradient in found.items():
            if gradient is None:
                continue
            accurate = gradient.to(self._dtype)
            total = self._parameters[loss]
            if name in total:
                total[name] += accurate
            else:
                total[name] = accurate.clone()

    def evidence(self, examples: ExampleSet, encoded: list[Encoded]) -> Evidence:
        for what, values in (("activations", self._activations), ("gradients", self._gradients)):
            for tensor in values.values():
                _check_finite(what, tensor, self._layers)
        for loss, values in self._losses.items():
            bad = (~values.isfinite()).nonzero().flatten().tolist()
            if bad:
                raise NumericsError(
                    expected=f"a finite {loss_name(loss)} loss",
                    found=f"{values[bad[0]].item()} at example {bad[0]}",
                    fix="Check the example, or load the model in float32",
                )
        for gradient in self._parameters.values():
            for name, total in gradient.items():
                total /= self._count
                if not total.isfinite().all():
                    raise NumericsError(
                        expected="a finite parameter gradient",
                        found=f"inf or nan in that of {name}",
                        fix="Check the weights, or load the model in float32",
                    )
        return Evidence(
            examples,
            encoded,
            self._layers,
            self._activations,
            self._gradients,
            self._parameters,
            self._losses,
        )


def _check_finite(what: str, values: Tensor, layers: tuple[int, ...]) -> None:
    bad = ~values.isfinite()
    if bad.any():
        place = bad.nonzero()[0].tolist()
        raise NumericsError(
            expected=f"finite {what}",
            found=f"inf or nan at layer {layers[place[0]]}, example {place[1]}",
            fix="Check the weights, or load the model in float32",
        )
