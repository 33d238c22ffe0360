"""Sums and means of the batches, as they come."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture.needs import Evidence, Needs, loss_and_form
from coldlens.errors import ArgumentError, NumericsError
from coldlens.examples.batch import Batch
from coldlens.examples.example import ExampleSet
from coldlens.examples.positions import select
from coldlens.examples.tokens import Encoded
from coldlens.gradients import Factored, GradientSum, packed
from coldlens.losses import Loss, loss_name, masked_mean, reads_residual
from coldlens.models.guards import working_dtype
from coldlens.models.offload import device_of
from coldlens.vectors import numbers


class Gathered:
    """Accumulates the reductions of the batches, in float32 or better."""

    def __init__(
        self,
        model: TransformerBridge,
        layers: tuple[int, ...],
        needs: Needs,
        count: int,
        sums: Mapping[Any, GradientSum] | None = None,
    ) -> None:
        """Makes room for the results.

        Args:
            model: The model.
            layers: The layers.
            needs: What will be gathered.
            count: N.
            sums: The parameter gradients, by what is wanted.
        """
        self._layers, self._count = layers, count
        self._dtype = working_dtype(model)
        device = device_of(model.original_model)
        shape = (len(layers), count, model.cfg.d_model)
        options = {"dtype": self._dtype, "device": device}
        self._activations = {key: torch.zeros(shape, **options) for key in needs.activations}
        self._gradients = {key: torch.zeros(shape, **options) for key in needs.gradients}
        self._losses = {
            loss: torch.zeros(count, **options) for loss in needs.losses if not reads_residual(loss)
        }
        self._sums = dict(sums or {})

    def add_activations(self, part: Needs, batch: Batch, streams: dict[int, Tensor]) -> None:
        """Adds the means over the wanted positions of one batch."""
        index = _index(batch)
        for side, positions in part.activations:
            out = self._activations[side, positions]
            mask = select(positions, batch.prompt_mask, batch.answer_mask)[batch.rows(side)]
            rows = batch.rows(side)
            read = (streams[layer].detach()[rows].to(self._dtype) for layer in self._layers)
            out.index_copy_(1, index, torch.stack([masked_mean(one, mask) for one in read]))

    def add_residual_loss(self, loss: Loss, batch: Batch, streams: dict[int, Tensor]) -> None:
        """Adds the gradients of a loss of each layer's own residual stream."""
        found = []
        for layer in self._layers:
            with torch.enable_grad():
                stream = streams[layer].detach().requires_grad_()
                value = loss(stream, batch).sum()
            found.append(torch.autograd.grad(value, stream)[0])
        self.add_gradients(loss, batch, found)

    def add_loss(self, loss: Loss, batch: Batch, value: Any) -> None:
        """Adds the losses of one batch.

        Args:
            loss: The loss.
            batch: The batch.
            value: ℓᵢ of its examples.

        Raises:
            ArgumentError: If there is not one loss an example, or it has no gradient.
        """
        if not isinstance(value, Tensor) or not value.requires_grad:
            raise ArgumentError(
                expected=f"{loss_name(loss)} to return a tensor that depends on the logits",
                found=f"{type(value).__name__} without a gradient",
                fix="Compute it from the logits with torch, without .item() or .detach()",
            )
        if value.shape != (batch.size,):
            raise ArgumentError(
                expected=f"{loss_name(loss)} to return one loss an example, shape ({batch.size},)",
                found=f"shape {tuple(value.shape)}",
                fix="Reduce over tokens, not over examples",
            )
        self._losses[loss].index_copy_(0, _index(batch), value.detach().to(self._dtype))

    def add_gradients(self, loss: Loss, batch: Batch, found: Sequence[Tensor | None]) -> None:
        """Adds the sums over the wanted positions of ∂ℓᵢ/∂Z_l, one gradient a layer."""
        for positions in [positions for other, positions in self._gradients if other == loss]:
            mask = select(positions, batch.prompt_mask, batch.answer_mask).unsqueeze(-1)
            index = _index(batch)
            for place, gradient in enumerate(found):
                if gradient is None:
                    continue
                summed = (gradient.to(self._dtype) * mask).sum(1)
                per_example = summed.unflatten(0, (len(batch.sides), batch.size)).sum(0)
                self._gradients[loss, positions][place].index_copy_(0, index, per_example)

    @property
    def gradients(self) -> list[GradientSum]:
        """All parameter gradients that are being gathered."""
        return list(self._sums.values())

    def sums(self, loss: Loss) -> list[GradientSum]:
        """Returns the parameter gradients of a loss that are being gathered."""
        return [found for wanted, found in self._sums.items() if loss_and_form(wanted)[0] == loss]

    def add_parameter_gradients(
        self, loss: Loss, dense: Mapping[str, Tensor | None], maps: Mapping[str, Factored]
    ) -> None:
        """Adds ∇_θ of the sum of one batch's losses; None where a loss does not depend on θ."""
        for total in self.sums(loss):
            total.add(
                {name: g for name, g in dense.items() if name not in total.plan.factored},
                {name: g for name, g in maps.items() if name in total.plan.factored},
            )

    def evidence(
        self, examples: ExampleSet, encoded: list[Encoded], batch_size: int, progress: bool
    ) -> Evidence:
        """Returns what was gathered, after checking that it is finite.

        Args:
            examples: The examples.
            encoded: Their tokens.
            batch_size: Examples a batch.
            progress: Whether later passes show progress bars.

        Returns:
            The evidence.

        Raises:
            NumericsError: If an activation, a loss or a gradient is not finite.
        """
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
        parameters = {wanted: total.mean() for wanted, total in self._sums.items()}
        for gradient in parameters.values():
            tensors = packed(gradient)
            # The sums tell, at a fraction of the cost, unless one overflows.
            sums = numbers([values.sum() for values in tensors.values()])
            for (name, values), total in zip(tensors.items(), sums, strict=True):
                if not math.isfinite(total) and not values.isfinite().all():
                    raise NumericsError(
                        expected="a finite parameter gradient",
                        found=f"inf or nan in that of {name.partition(':')[0]}",
                        fix="Check the weights, or load the model in float32",
                    )
        errors = {wanted: total.error(parameters[wanted]) for wanted, total in self._sums.items()}
        return Evidence(
            examples,
            encoded,
            self._layers,
            self._activations,
            self._gradients,
            parameters,
            self._losses,
            batch_size,
            progress,
            errors,
        )


def _index(batch: Batch) -> Int[Tensor, " example"]:
    return torch.tensor(batch.index, device=batch.tokens.device)


def _check_finite(what: str, values: Tensor, layers: tuple[int, ...]) -> None:
    bad = ~values.isfinite()
    if bad.any():
        place = bad.nonzero()[0].tolist()
        raise NumericsError(
            expected=f"finite {what}",
            found=f"inf or nan at layer {layers[place[0]]}, example {place[1]}",
            fix="Check the weights, or load the model in float32",
        )
