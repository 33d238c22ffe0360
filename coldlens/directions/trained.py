"""What every trained baseline shares: its settings and its training loop."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from transformer_lens.model_bridge import TransformerBridge

from coldlens.checks import above_zero, at_least, finite
from coldlens.directions.method import Method
from coldlens.errors import ArgumentError, NumericsError
from coldlens.examples.example import ExampleSet
from coldlens.losses import Loss, loss_name, reads_residual
from coldlens.models.guards import working_dtype
from coldlens.models.parameters import exchanged, parameters

Losses = Callable[[Sequence[int], float], Float[Tensor, " example"]]
"""(indices of examples, sign) → the loss of each, at the present value of the weights."""


@dataclass(frozen=True, kw_only=True)
class Trained(Method):
    """A method that takes many steps of an optimiser on the examples, in seeded random batches.

    Attributes:
        lr: The learning rate.
        epochs: How often each example is seen, at most.
        batch_size: Examples a step. Unlike the `batch_size` of `fit`, it changes the result.
        held_out: Share of the examples, 0 ≤ share < 1, that is drawn for validation and not
            trained on: at least one where the share is not 0. With 0 the last epoch is kept, else
            the one with the lowest loss of the held-out examples.
        patience: Stop after so many epochs in a row without a lower loss of the held-out examples.
        seed: Seed of the draw, of initial weights and of the order of the examples.
    """

    lr: float = 1e-3
    epochs: int = 2
    batch_size: int = 8
    held_out: float | int = 0.0
    patience: int = 3
    seed: int = 0
    scale: ClassVar[str] = "as trained: eta = 1 is the intervention itself"

    def __post_init__(self) -> None:
        """Checks the settings.

        Raises:
            ArgumentError: If one is out of range.
        """
        above_zero("lr", self.lr)
        for name in ("epochs", "batch_size", "patience"):
            at_least(1, name, getattr(self, name))
        at_least(0, "seed", self.seed)
        finite("held_out", self.held_out)
        if not 0 <= self.held_out < 1:
            raise ArgumentError(
                expected="0 <= held_out < 1, a share of the examples",
                found=f"held_out = {self.held_out!r}",
                fix="0.2 holds out a fifth of them, 0 none",
            )

    def check(self, model: TransformerBridge, examples: ExampleSet) -> None:
        """Also checks that there are enough examples to hold some out.

        Raises:
            ArgumentError: If none would be left to train on.
        """
        super().check(model, examples)
        if self._held_out(len(examples)) >= len(examples):
            raise ArgumentError(
                expected="an example to train on beside those held out",
                found=f"held_out = {self.held_out} of {len(examples)}",
                fix="Give more examples, or use held_out=0",
            )

    def optimiser(self, weights: Sequence[Tensor], steps: int) -> tuple[Optimizer, LRScheduler]:
        """Builds the optimiser: Adam with a constant learning rate.

        Args:
            weights: What it moves.
            steps: How many steps the training has.

        Returns:
            The optimiser, and the schedule of its learning rate.
        """
        optimiser = Adam(list(weights), lr=self.lr)
        return optimiser, LambdaLR(optimiser, lambda _: 1.0)

    def train(
        self,
        weights: Sequence[Tensor],
        losses: Losses,
        count: int,
        generator: torch.Generator,
        signs: Sequence[float] = (1.0,),
    ) -> Float[Tensor, "epoch 2"]:
        """Moves the weights, in place, to those of the epoch that is kept.

        Args:
            weights: Leaves of the graph of `losses`.
            losses: The losses of some examples.
            count: N, the number of examples.
            generator: Draws the held-out examples, the order and the signs.
            signs: One of them is drawn for each batch, where there are several; the loss of the
                held-out examples is averaged over all.

        Returns:
            Mean loss in each epoch, of the examples trained on and of those held out; nan where
            there is none.

        Raises:
            NumericsError: If a loss is not finite.
        """
        order = torch.randperm(count, generator=generator).tolist()
        held_out = order[: self._held_out(count)]
        trained_on = order[len(held_out) :]
        steps = self.epochs * math.ceil(len(trained_on) / self.batch_size)
        optimiser, schedule = self.optimiser(weights, steps)
        curve = torch.full((self.epochs, 2), float("nan"), dtype=torch.float64)
        best, since = [weight.detach().clone() for weight in weights], 0
        for epoch in range(self.epochs):
            total = 0.0
            for index in self._batches(trained_on, generator):
                values = losses(index, _drawn(signs, generator))
                optimiser.zero_grad()
                gradients = torch.autograd.grad(values.mean(), list(weights))
                for weight, gradient in zip(weights, gradients, strict=True):
                    weight.grad = gradient
                optimiser.step()
                schedule.step()
                total += values.detach().double().sum().item()
            curve[epoch, 0] = _finite(total / len(trained_on), epoch)
            if held_out:
                curve[epoch, 1] = _finite(self._validation(losses, held_out, signs), epoch)
            if not held_out or curve[epoch, 1] == curve[: epoch + 1, 1].min():
                best, since = [weight.detach().clone() for weight in weights], 0
            else:
                since += 1
            if since == self.patience:
                break
        with torch.no_grad():
            for weight, value in zip(weights, best, strict=True):
                weight.copy_(value)
        return curve

    def _held_out(self, count: int) -> int:
        return math.ceil(self.held_out * count)

    def _batches(self, index: Sequence[int], generator: torch.Generator) -> Iterator[list[int]]:
        order = torch.randperm(len(index), generator=generator).tolist()
        for start in range(0, len(order), self.batch_size):
            yield [index[place] for place in order[start : start + self.batch_size]]

    def _validation(self, losses: Losses, index: Sequence[int], signs: Sequence[float]) -> float:
        total = 0.0
        with torch.no_grad():
            for start in range(0, len(index), self.batch_size):
                for sign in signs:
                    values = losses(index[start : start + self.batch_size], sign)
                    total += values.double().sum().item()
        return total / (len(index) * len(signs))


@contextmanager
def frozen(model: TransformerBridge) -> Iterator[None]:
    """Lets the model compute in float32 or better, with gradients but none for its parameters.

    Args:
        model: The model.

    Yields:
        Nothing.
    """
    dtype = working_dtype(model)
    values = {name: found.tensor.detach().to(dtype) for name, found in parameters(model).items()}
    with exchanged(model, values), torch.enable_grad():
        yield


def require_logit_loss(loss: Loss) -> None:
    """Checks that a loss can be trained on.

    Args:
        loss: The loss.

    Raises:
        ArgumentError: If it reads the residual stream, where the intervention itself is added.
    """
    if reads_residual(loss):
        raise ArgumentError(
            expected="a loss of the logits to train on",
            found=f"{loss_name(loss)}, which reads the residual stream",
            fix="Choose CrossEntropy or DPO",
        )


def _drawn(signs: Sequence[float], generator: torch.Generator) -> float:
    if len(signs) == 1:
        return signs[0]
    return signs[int(torch.randint(len(signs), (1,), generator=generator))]


def _finite(loss: float, epoch: int) -> float:
    if not math.isfinite(loss):
        raise NumericsError(
            expected="a finite loss throughout the training",
            found=f"{loss} in epoch {epoch}",
            fix="Use a smaller learning rate, or load the model in float32",
        )
    return loss
