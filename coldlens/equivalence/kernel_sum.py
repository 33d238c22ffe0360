"""E5 and E6: the kernel sum over all tokens is the exact displacement, tied embeddings aside."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from coldlens.capture import Needs, collect
from coldlens.capture.token_gradients import token_gradients
from coldlens.directions import ColdJVP
from coldlens.equivalence.rows import Check, Row
from coldlens.equivalence.setting import Setting
from coldlens.examples.batch import batches
from coldlens.examples.tokens import encode
from coldlens.kernels.ntk import EmpiricalNTK
from coldlens.losses import sides_of
from coldlens.models.forward import residuals
from coldlens.models.parameters import exchanged, parameters, upstream

SUM = Check("E5", "kernel sum over all tokens = ColdJVP minus the tied part")
TIED = Check("E6", "kernel sum + g through the tied unembedding = ColdJVP")


@dataclass(frozen=True)
class Sum:
    """−(1/N) Σᵢ Σ_t K ∂ᵢ[t] at one query and layer, and parts of it.

    Attributes:
        full: Over every token of every sequence that the loss reads.
        last: Over the last prompt token only.
        transposed: Over every token with Kᵀ in place of K.
        size: Σ ‖K ∂ᵢ[t]‖/N, which is larger than ‖full‖ where terms cancel.
        concentrated: Whether no other token than the last one of the prompt has a gradient.
    """

    full: Float[Tensor, " d"]
    last: Float[Tensor, " d"]
    transposed: Float[Tensor, " d"]
    size: float
    concentrated: bool


def kernel_sum_rows(setting: Setting) -> Iterator[Row]:
    """Compares the sum over the structured eNTK with forward mode, at the last token of a prompt.

    Both sides sum the same terms in another order, so their relative error is within
    `Setting.rounding` times Σ‖terms‖/‖sum‖.

    Args:
        setting: The setting.

    Yields:
        For each of the few layers the claims and counter-cases: only the last prompt token
        (after the last block that may be all there is; there the blocks are transposed) for E5,
        the sum without the tied part for E6. That one does not apply where nothing is tied, or
        where a loss that reads few tokens' logits moves the embedding of none in the prompt.
    """
    model, pair, query = setting.model, setting.pair, setting.pair_prompts[0]
    layers = setting.few
    needs = Needs(parameter_gradients=frozenset({setting.loss}))
    exact = ColdJVP(setting.loss).solve(model, collect(model, pair, layers, needs))
    for layer in tqdm(layers, desc="E5, E6", disable=not setting.progress):
        right = exact.readings([query])[exact.place(layer), 0]
        held = _gradient_with_stream_held(setting, layer)
        part = torch.zeros_like(right)
        if held:
            part = replace(exact, direction=held).readings([query])[exact.place(layer), 0]
        found = _kernel_sum(setting, layer)
        tolerance = setting.rounding * (found.size / found.full.norm().item())
        rest = " minus the tied part" if held else ""
        detail = f"{len(pair)} examples, all tokens; right side ColdJVP{rest}"
        yield SUM.equal(layer, found.full, right - part, tolerance, detail)
        if found.concentrated:
            other, detail = found.transposed, "blocks transposed; only one token has a gradient"
        else:
            other, detail = found.last, "the last prompt token only"
        yield SUM.equal(layer, other, right - part, tolerance, detail, "counter")
        if not held:
            yield TIED.absent("no parameter upstream acts downstream too: nothing is tied", layer)
        elif part.norm() <= tolerance * right.norm():
            yield TIED.absent("the tied part moves no token of this prompt", layer)
        else:
            whole, detail = found.full + part, f"tied: {', '.join(held)}"
            yield TIED.equal(layer, whole, right, tolerance, detail)
            detail = "without the tied part"
            yield TIED.equal(layer, found.full, right, tolerance, detail, "counter")


def _kernel_sum(setting: Setting, layer: int) -> Sum:
    model, pair, loss = setting.model, setting.pair, setting.loss
    kernel = EmpiricalNTK(model, [setting.pair_prompts[0]], pair, layer)
    full = last = transposed = torch.zeros(())
    size, concentrated = 0.0, True
    for index, example in enumerate(encode(model, pair)):
        found = token_gradients(model, example, loss, [layer], sides=sides_of(loss, pair))
        for side, gradients in found.gradients.items():
            blocks = kernel.cross_block(layer, 0, index, side=side)
            here = gradients[layer] / len(pair)
            terms = torch.einsum("tab,tb->ta", blocks, here)
            full = full - terms.sum(0)
            transposed = transposed - torch.einsum("tab,ta->b", blocks, here)
            last = last - terms[found.prompt_length - 1]
            size += terms.norm(dim=-1).sum().item()
            others = torch.arange(len(here)) != found.prompt_length - 1
            concentrated &= not here[others].any()
    return Sum(full, last, transposed, size, concentrated)


def _gradient_with_stream_held(setting: Setting, layer: int) -> dict[str, Tensor]:
    """Computes ∇_θ L with Z_l held fixed, over the parameters upstream of Z_l.

    Args:
        setting: The setting.
        layer: The layer l.

    Returns:
        The gradient of those parameters that act downstream too: a tied embedding.
    """
    model, pair, loss = setting.model, setting.pair, setting.loss
    values = {name: found.tensor for name, found in parameters(model).items()}
    leaves = {name: values[name].detach().requires_grad_() for name in upstream(model, layer)}
    total: dict[str, Tensor] = {}
    device = next(iter(values.values())).device
    with torch.enable_grad(), exchanged(model, leaves):
        for batch in batches(encode(model, pair), sides_of(loss, pair), 1, device=device):
            _, logits = residuals(
                model,
                batch.tokens,
                batch.attention_mask,
                [layer],
                edit=lambda _, residual: residual.detach(),
                logits=True,
            )
            assert logits is not None
            if not logits.requires_grad:
                return {}
            value = loss(logits, batch).sum() / len(pair)
            found = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
            for name, gradient in zip(leaves, found, strict=True):
                if gradient is not None:
                    total[name] = total.get(name, torch.zeros_like(gradient)) + gradient
    return total
