"""How far from one step do cheap predictions of k steps of gradient descent hold."""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture import Evidence, Needs, collect
from coldlens.directions import ColdJVP
from coldlens.directions.anchored import anchored
from coldlens.directions.descent import mean_gradient
from coldlens.examples.batch import pad
from coldlens.examples.example import ExampleSet
from coldlens.examples.tokens import encode
from coldlens.gradients import norm
from coldlens.losses import Loss
from coldlens.models.forward import residuals
from coldlens.models.parameters import parameters
from coldlens.steering.parametric import DifferenceSteering, TangentSteering

Direction = dict[str, Tensor]
_SHARE = 1e-6
"""Of the norm of the parameters: the half-width of the differences that give H v."""


class Descent:
    """Gradient descent on some examples, and predictions of it from near θ₀.

    All return (1/k) Σ_j g_j, so that −k · lr times it is the move of the parameters.
    """

    def __init__(self, model: TransformerBridge, examples: ExampleSet, loss: Loss) -> None:
        """Computes the gradient at θ₀.

        Args:
            model: The model.
            examples: The examples.
            loss: The loss.
        """
        self.model, self.loss = model, loss
        self._start = {name: found.tensor.detach() for name, found in parameters(model).items()}
        self.evidence = self._collect(examples, self._start, loss)
        self.first = self.evidence.parameter_gradients[loss]
        # Away from θ₀ a loss that refers to the model itself still refers to the one at θ₀.
        self._held = anchored(model, self.evidence, loss)

    def path(self, steps: int, lr: float) -> Direction:
        """Returns the gradients of the real path: k passes."""
        return mean_gradient(self.model, self.evidence, self.loss, steps, lr, "path")

    def halfway(self, steps: int, lr: float) -> Direction:
        """Returns g(θ₀ − ½(k − 1) lr g₀): exact to second order in lr, two passes for any k."""
        return self._gradient(self.first, -lr * (steps - 1) / 2)

    def hessian(self, steps: int, lr: float) -> Direction:
        """Returns g_j = g₀ − lr H Σ_{i<j} g_i, with H at θ₀: 2k − 1 passes."""
        total = dict(self.first)
        for _ in range(steps - 1):
            curved = self._times_hessian(total)
            total = {name: total[name] + self.first[name] - lr * curved[name] for name in total}
        return {name: value / steps for name, value in total.items()}

    def _times_hessian(self, direction: Direction) -> Direction:
        width = _SHARE * norm(self._start) / norm(direction)
        plus, minus = (self._gradient(direction, sign * width) for sign in (1, -1))
        return {name: (plus[name] - minus[name]) / (2 * width) for name in plus}

    def _gradient(self, direction: Direction, step: float) -> Direction:
        moved = {name: self._start[name] + step * direction[name] for name in self._start}
        evidence = self._collect(self.evidence.examples, moved, self._held)
        return evidence.parameter_gradients[self._held]

    def _collect(self, examples: ExampleSet, at: Mapping[str, Tensor], loss: Loss) -> Evidence:
        layers = tuple(range(len(self.model.blocks)))
        needs = Needs(parameter_gradients=frozenset({loss}))
        return collect(self.model, examples, layers, needs, batch_size=16, at=at, differentiate=at)


PASSES = {
    "one step": lambda steps: 1,
    "path": lambda steps: steps,
    "halfway": lambda steps: min(steps, 2),
    "hessian": lambda steps: 2 * steps - 1,
    "one large step": lambda steps: 1,
}
"""Passes over the examples, by prediction. All are read by −J_l(x) v but the last, which really
moves the parameters once, by k · lr · g₀."""


def steps_table(
    model: TransformerBridge,
    train: ExampleSet,
    prompts: ExampleSet,
    loss: Loss,
    steps: Sequence[int],
    lrs: Sequence[float],
) -> pd.DataFrame:
    """Compares predictions with Z_l(x; θ_k) − Z_l(x; θ₀) at the last tokens of new prompts.

    Args:
        model: The model, in float64 so that rounding does not count.
        train: The examples.
        prompts: Their prompts are x.
        loss: The loss.
        steps: Values of k.
        lrs: Learning rates.

    Returns:
        A row a learning rate, k, layer and prediction: means over prompts of `relative_error` and
        `cosine`; `length`, the length of the real change relative to the residual stream; `passes`.
    """
    descent = Descent(model, train, loss)
    origin = ColdJVP(loss).origin(model, descent.evidence, loss=loss)
    asked = [one.prompt for one in encode(model, prompts)]
    streams = last_streams(model, asked, origin.layers)

    def linear(direction: Direction, time: float) -> Tensor:
        return time * TangentSteering(origin, direction).readings(asked)

    def real(direction: Direction, time: float) -> Tensor:
        return DifferenceSteering(origin, direction, step=-time, scale=1.0).readings(asked)

    first = linear(descent.first, 1.0)
    rows = []
    for lr in lrs:
        for k in steps:
            time, path = k * lr, descent.path(k, lr)
            change = real(path, time)
            found = {
                "one step": time * first,
                "path": linear(path, time),
                "halfway": linear(descent.halfway(k, lr), time),
                "hessian": linear(descent.hessian(k, lr), time),
                "one large step": real(descent.first, time),
            }
            length = (change.norm(dim=-1) / streams.norm(dim=-1)).mean(1)
            for prediction, guess in found.items():
                error = ((guess - change).norm(dim=-1) / change.norm(dim=-1)).mean(1)
                cosine = torch.cosine_similarity(guess, change, dim=-1).mean(1)
                columns = {"relative_error": error, "cosine": cosine, "length": length}
                rows += [
                    {"lr": lr, "steps": k, "layer": layer, "prediction": prediction}
                    | {name: values[place].item() for name, values in columns.items()}
                    | {"passes": PASSES[prediction](k)}
                    for place, layer in enumerate(origin.layers)
                ]
    return pd.DataFrame(rows)


def last_streams(
    model: TransformerBridge, prompts: Sequence[tuple[int, ...]], layers: tuple[int, ...]
) -> Float[Tensor, "layer prompt d"]:
    """Reads Z_l at the last token of each prompt.

    Args:
        model: The model.
        prompts: Token ids.
        layers: The layers.

    Returns:
        Shape [layer, prompt, d_model].
    """
    tokens, mask = pad(prompts)
    with torch.no_grad():
        found, _ = residuals(model, tokens, mask, layers)
    rows = torch.arange(len(tokens))
    return torch.stack([found[layer][rows, mask.sum(1) - 1] for layer in layers])
