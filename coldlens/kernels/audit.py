"""A check that no parameter was forgotten: ‖Jᵀv‖² by plain reverse mode against vᵀ K v."""

import math
from collections.abc import Collection

import torch
from transformer_lens.model_bridge import TransformerBridge

from coldlens.errors import NumericsError
from coldlens.examples.tokens import Ids
from coldlens.kernels.inventory import Structure
from coldlens.kernels.points import one_row
from coldlens.kernels.structured import structured_blocks
from coldlens.models.forward import residuals
from coldlens.models.parameters import accurate_parameters, exchanged

_ROUNDINGS = 64
_TOKENS = 8  # a parameter that is forgotten is missed at any length where attention has a choice


def audit_structure(
    model: TransformerBridge,
    structure: Structure,
    ids: Ids,
    names: Collection[str],
    max_memory: int,
) -> None:
    """Compares the structured kernel with one reverse pass over all its parameters.

    In float64 where two more copies of the parameters fit into memory, since in float32 a small
    parameter could hide in the round-off. The two sides round differently in each of some 16
    operations of a block, and twice more since they are squares, so 64 times a layer in all, each
    time by about √n units for sums of n terms (Higham and Mary 2019): 64 (l+1) √n u.

    Args:
        model: The model.
        structure: How each parameter is handled, up to the layer l.
        ids: Token ids of a sequence, of which the first few are used.
        names: The parameters that the kernel is taken over.
        max_memory: Bytes within which the parameters may be copied to float64.

    Raises:
        NumericsError: If the two differ by more than their round-off.
    """
    ids, layer = ids[:_TOKENS], len(structure.maps) - 1
    values = accurate_parameters(model, layer)
    if 2 * 8 * sum(value.numel() for value in values.values()) <= max_memory:
        values = {name: value.double() for name, value in values.items()}
    leaves = {name: values[name].detach().requires_grad_() for name in names}
    with exchanged(model, {**values, **leaves}):
        end = residuals(model, *one_row(model, ids), (layer,))[0][layer][0, -1]
    probe = torch.randn(1, len(end), generator=torch.Generator().manual_seed(0)).to(end)
    expected = 0.0
    if end.requires_grad:
        grads = torch.autograd.grad(end, list(leaves.values()), probe[0], allow_unused=True)
        expected = sum(g.double().square().sum().item() for g in grads if g is not None)
        del grads
    # One row of one sequence is less than what any block takes, whose own error says how much.
    blocks = structured_blocks(model, values, structure, [ids], [(0, 0)], probes=probe)
    found = blocks[0, 0].item()
    widths = [max(site.outputs, site.inputs or 0) for site in structure.sites]
    widest = max(widths, default=model.cfg.d_model)
    bound = _ROUNDINGS * (layer + 1) * math.sqrt(widest) * torch.finfo(probe.dtype).eps
    if not abs(found - expected) <= bound * expected:
        raise NumericsError(
            expected=f"vᵀKv = ‖Jᵀv‖² = {expected:.9g} at layer {layer}, to {bound:.1e}",
            found=f"vᵀKv = {found:.9g}, off by {abs(found - expected):.1e}",
            fix="The structured kernel misses a parameter of this architecture; use "
            'method="jacobian" and report it',
        )
