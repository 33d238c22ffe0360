"""Several steps of gradient descent, on copies of the parameters."""

import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture import Evidence, Needs, collect
from coldlens.directions.anchored import anchored
from coldlens.losses import Loss
from coldlens.models.parameters import parameters, upstream


def mean_gradient(
    model: TransformerBridge,
    evidence: Evidence,
    loss: Loss,
    steps: int,
    lr: float | int,
    label: str,
) -> dict[str, Tensor]:
    """Computes (1/k) Σ_j ∇_θ L(θ_j), j < k, along θ_{j+1} = θ_j − lr ∇_θ L(θ_j).

    k · lr times it is what k steps of full-batch gradient descent subtract from θ₀. For k = 1 it
    is the gradient that the evidence has already; for more, all parameters move, also those
    downstream of the layers, since they change the later gradients.

    Args:
        model: The model; it keeps its own parameters.
        evidence: The examples, with the gradient at θ₀.
        loss: The loss; where it refers to the model itself, that is the model at θ₀.
        steps: k.
        lr: The learning rate.
        label: The method, for the progress bar.

    Returns:
        By name of the parameters upstream of the deepest layer that move.
    """
    if steps == 1:
        return evidence.parameter_gradients[loss]
    loss = anchored(model, evidence, loss)
    start = {name: found.tensor.detach() for name, found in parameters(model).items()}
    total = {
        name: torch.zeros_like(value, dtype=torch.promote_types(value.dtype, torch.float32))
        for name, value in start.items()
    }
    for _ in tqdm(range(steps), desc=label, disable=not evidence.progress):
        values = {name: start[name] - lr * total[name] for name in start}
        found = collect(
            model,
            evidence.examples,
            evidence.layers,
            Needs(parameter_gradients=frozenset({loss})),
            batch_size=evidence.batch_size,
            encoded=evidence.encoded,
            at=values,
            differentiate=values,
        )
        for name, gradient in found.parameter_gradients[loss].items():
            total[name] += gradient
    kept = upstream(model, max(evidence.layers))
    return {name: value / steps for name, value in total.items() if name in kept and value.any()}
