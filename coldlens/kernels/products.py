"""Products with J_l = ∂Z_l/∂θ that never form it: J_lᵀ u in reverse mode, J_l v in forward mode.

The empirical NTK between two inputs is K_l = J_l(x) J_l(x′)ᵀ, so `pushforward` at x of
`pullback` at x′ multiplies a vector with it: one reverse and one forward pass, whatever the size of
the model. J_l begins at Z_l, so a tied embedding counts only as an embedding here.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture.token_gradients import TokenGradients
from coldlens.examples.positions import Positions, select
from coldlens.gradients import pushforward
from coldlens.kernels.padded import rows_of
from coldlens.models.forward import residuals
from coldlens.models.parameters import accurate_parameters, exchanged

__all__ = ["mean_pullback", "pullback", "pushforward"]


@torch.inference_mode(False)
def pullback(
    model: TransformerBridge,
    layer: int,
    tokens: Int[Tensor, "row pos"],
    attention_mask: Bool[Tensor, "row pos"],
    cotangents: Float[Tensor, "row pos d"],
) -> dict[str, Tensor]:
    """Computes Σ J_l(x)[s]ᵀ u[s] over the rows x and their tokens s: one reverse pass.

    Args:
        model: The model; nothing of it is changed.
        layer: 0-based block l.
        tokens: Token ids.
        attention_mask: True at real tokens.
        cotangents: u, in float32 or better; ignored at padding.

    Returns:
        A tensor of the parameter's shape for each parameter upstream of the layer that Z_l
        depends on, by name, in float32 or better.
    """
    leaves = {
        name: value.detach().requires_grad_()
        for name, value in accurate_parameters(model, layer).items()
    }
    with torch.enable_grad(), exchanged(model, leaves):
        stream = residuals(model, tokens, attention_mask, (layer,))[0][layer]
    found = torch.autograd.grad(
        stream,
        list(leaves.values()),
        cotangents.masked_fill(~attention_mask.unsqueeze(-1), 0.0),
        allow_unused=True,
    )
    return {
        name: gradient for name, gradient in zip(leaves, found, strict=True) if gradient is not None
    }


def mean_pullback(
    model: TransformerBridge,
    layer: int,
    gradients: Sequence[TokenGradients],
    positions: Positions = "all",
) -> dict[str, Tensor]:
    """Computes ḡ_l = (1/N) Σᵢ Σ_t J_l(xᵢ)[t]ᵀ ∂ᵢ[t]: the part of g that flows through Z_l.

    −J_l(x)[s] ḡ_l is then the kernel sum −(1/N) Σᵢ Σ_t K_l((x,s),(xᵢ,t)) ∂ᵢ[t].

    Args:
        model: The model.
        layer: 0-based block l.
        gradients: ∂ᵢ of N examples, at that layer among others.
        positions: The tokens t, of every sequence that ℓᵢ reads.

    Returns:
        By parameter name, in float32 or better.
    """
    total: dict[str, Tensor] = {}
    for rows in rows_of(gradients, layer):
        chosen = select(positions, rows.prompt_mask, rows.attention_mask & ~rows.prompt_mask)
        cotangents = rows.gradients * chosen.unsqueeze(-1) / len(gradients)
        found = pullback(model, layer, rows.tokens, rows.attention_mask, cotangents)
        for name, value in found.items():
            total[name] = total[name] + value if name in total else value
    return total
