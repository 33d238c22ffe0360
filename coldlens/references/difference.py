"""What moving the parameters does to the residual stream, on real copies of the model."""

import copy
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.examples.tokens import Encoded
from coldlens.references.forward import ParameterValues, named_parameters, run
from coldlens.references.training import anchored_losses


def _copied(model: TransformerBridge) -> TransformerBridge:
    # Some bridges keep the attention pattern of the last forward; one with a graph has no copy.
    with torch.no_grad():
        run(model, [0])
    return copy.deepcopy(model)


def moved_copy(
    model: TransformerBridge, direction: ParameterValues, step: float
) -> TransformerBridge:
    """Returns a copy of the model with parameters θ + a v.

    Args:
        model: The model; it keeps its own parameters.
        direction: v by parameter name.
        step: a.

    Returns:
        A deep copy; a tied parameter was moved once.
    """
    moved = _copied(model)
    known = named_parameters(moved)
    with torch.no_grad():
        for name, value in direction.items():
            known[name].add_(step * value)
    return moved


def finite_difference(
    model: TransformerBridge,
    ids: Sequence[int],
    gradient: ParameterValues,
    epsilon: float,
    scheme: Literal["forward", "central"] = "forward",
) -> dict[int, Float[Tensor, "pos d"]]:
    """Computes −(Z_l(x; θ+εg) − Z_l(x; θ))/ε, or −(Z_l(x; θ+εg) − Z_l(x; θ−εg))/2ε.

    Source: Sharma and Trivedi 2026, "COLD-Steer", COLD-FD-Steer.

    Args:
        model: The model.
        ids: Token ids of x.
        gradient: g by parameter name.
        epsilon: ε.
        scheme: Which of the two differences.

    Returns:
        By layer, shape [pos, d_model].
    """
    with torch.no_grad():
        plus = run(moved_copy(model, gradient, epsilon), ids)[0]
        if scheme == "forward":
            start, width = run(model, ids)[0], epsilon
        else:
            start, width = run(moved_copy(model, gradient, -epsilon), ids)[0], 2 * epsilon
    return {layer: -(plus[layer] - start[layer]) / width for layer in plus}


def fine_tuned(
    model: TransformerBridge, examples: Sequence[Encoded], loss: object, steps: int, lr: float
) -> TransformerBridge:
    """Returns a copy trained by `torch.optim.SGD` on the whole set for k steps.

    Where the loss refers to the model itself, that is the model before the first step.

    Args:
        model: The model; it keeps its own parameters.
        examples: Token ids of the examples.
        loss: A loss of the logits with a literal form.
        steps: k.
        lr: The learning rate.

    Returns:
        The trained copy.
    """
    trained, losses = _copied(model), anchored_losses(model, examples, loss)
    optimiser = torch.optim.SGD(list(named_parameters(trained).values()), lr=lr)
    for _ in range(steps):
        optimiser.zero_grad()
        for one in losses:
            with torch.enable_grad():
                (one(trained) / len(losses)).backward()
        optimiser.step()
    return trained


def parameter_change(
    model: TransformerBridge, moved: TransformerBridge, ids: Sequence[int]
) -> dict[int, Float[Tensor, "pos d"]]:
    """Computes Z_l(x; θ′) − Z_l(x; θ).

    Args:
        model: The model with θ.
        moved: The model with θ′.
        ids: Token ids of x.

    Returns:
        By layer, shape [pos, d_model].
    """
    with torch.no_grad():
        before, after = run(model, ids)[0], run(moved, ids)[0]
    return {layer: after[layer] - before[layer] for layer in before}
