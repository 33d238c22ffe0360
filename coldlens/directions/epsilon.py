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
NOISE = 1e-3
"""Relative departure from linearity that shows rounding of float32 inside a float64 model."""


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
    norm do not decide. A float64 model that computes partly in float32, as the norms of Llama and
    Gemma do, gets the step of float32: it is recognised by a change that is not linear in ε.

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
    base = moved_residuals(model, {}, 0.0, tokens, mask, layers)

    def change(epsilon: float) -> list[Tensor]:
        moved = moved_residuals(model, gradient, epsilon, tokens, mask, layers)
        return [(moved[layer] - base[layer])[mask] for layer in layers]

    def settle(dtype: torch.dtype) -> float:
        target = (torch.finfo(dtype).eps / 2) ** (1 / 3 if scheme == "central" else 1 / 2)
        epsilon = PILOT_STEP * size / norm
        for _ in range(CORRECTIONS):
            ratios = [
                delta.norm(dim=-1) / base[layer][mask].norm(dim=-1)
                for layer, delta in zip(layers, change(epsilon), strict=True)
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

    epsilon = settle(working_dtype(model))
    if working_dtype(model) == torch.float64:
        once, twice = torch.cat(change(epsilon)), torch.cat(change(2 * epsilon))
        if (twice - 2 * once).norm() > NOISE * twice.norm():
            epsilon = settle(torch.float32)
    return epsilon
