"""The step of a finite difference in parameter space, chosen by its effect on the output."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.directions.parametric import global_norm
from coldlens.errors import NumericsError
from coldlens.examples.batch import pad
from coldlens.examples.tokens import Ids
from coldlens.models.guards import working_dtype
from coldlens.models.parameters import parameters
from coldlens.steering.parametric import Scheme, moved_residuals

PILOT_PROMPTS = 8
PILOT_STEP = 1e-4
"""First guess of ε‖g‖/‖θ‖."""
CORRECTIONS = 2


def automatic_epsilon(
    model: TransformerBridge,
    layers: tuple[int, ...],
    gradient: Mapping[str, Tensor],
    prompts: Sequence[Ids],
    scheme: Scheme,
) -> float:
    """Chooses ε so that the residual stream moves by √u (forward) or u^⅓ (central) of its norm.

    With u the unit round-off of the computation, that is where the rounding error, about u/ρ for
    a relative move ρ, meets the truncation error, about ρ or ρ². A pilot step is rescaled twice;
    ρ is the median over layers and tokens of the first prompts, so that single tokens with a huge
    norm do not decide.

    Args:
        model: The model.
        layers: The layers.
        gradient: g by parameter name.
        prompts: Token ids of the prompts; up to eight are used.
        scheme: The finite-difference scheme.

    Returns:
        ε.

    Raises:
        NumericsError: If the gradient is zero, or does not move the residual stream.
    """
    norm = global_norm(gradient)
    if norm == 0:
        raise NumericsError(
            expected="a gradient that is not zero",
            found="norm 0",
            fix="Check that positive and negative completions differ",
        )
    known = parameters(model)
    size = global_norm({name: known[name].tensor.detach().float() for name in gradient})
    device = next(iter(gradient.values())).device
    tokens, mask = pad(prompts[:PILOT_PROMPTS], device=device)
    unit = torch.finfo(working_dtype(model)).eps / 2
    target = unit ** (1 / 3 if scheme == "central" else 1 / 2)
    base = moved_residuals(model, {}, 0.0, tokens, mask, layers)
    epsilon = PILOT_STEP * size / norm
    for _ in range(CORRECTIONS):
        moved = moved_residuals(model, gradient, epsilon, tokens, mask, layers)
        ratios = [
            ((moved[layer] - base[layer]).norm(dim=-1) / base[layer].norm(dim=-1))[mask]
            for layer in layers
        ]
        ratio = torch.cat(ratios).median().item()
        if not ratio > 0:
            raise NumericsError(
                expected="a gradient that moves the residual stream",
                found=f"a relative move of {ratio} at epsilon = {epsilon:.3g}",
                fix="Give epsilon as a number, or use ColdJVP",
            )
        epsilon *= target / ratio
    return epsilon
