"""Kernel blocks at every token of an example: reverse mode at the query, forward mode there.

Row o of K((x,s),(x′,t)), for all t at once, is the derivative of Z_l(x′) along u_o = J(x)[s]ᵀ e_o.
A linear map with inputs A and cotangents D_o at the query has u_o = D_oᵀ A, which moves its output
at token t of the example by Σ_s D_o[s] ⟨A[s], a[t]⟩ = (S D_o)[t], S = A′ Aᵀ: the direction itself
is never formed.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.errors import ArgumentError
from coldlens.examples.tokens import Ids
from coldlens.kernels.forms import inputs_of
from coldlens.kernels.inventory import Structure
from coldlens.kernels.points import one_row
from coldlens.kernels.record import Site, record
from coldlens.kernels.reverse import sweep
from coldlens.kernels.work import Footprint
from coldlens.models.forward import residuals
from coldlens.models.hooks import hooked
from coldlens.models.parameters import exchanged


def structured_cross_block(
    model: TransformerBridge,
    values: Mapping[str, Tensor],
    structure: Structure,
    query: Ids,
    example: Ids,
    *,
    probes: Float[Tensor, "row d"] | None = None,
    max_memory: int,
) -> Float[Tensor, "pos row d"]:
    """Computes V K_l((x, last), (x′, t)) for every token t of x′.

    Args:
        model: The model.
        values: Every parameter upstream of the structure's last layer l, without a graph; their
            dtype is the kernel's.
        structure: How each parameter is handled.
        query: Token ids of x.
        example: Token ids of x′.
        probes: V; by default the identity.
        max_memory: Limit in bytes, beside the model.

    Returns:
        Shape [tokens of x′, row, d_model]; rows index the query's coordinate.

    Raises:
        ArgumentError: If not even one row fits.
    """
    layer = len(structure.maps) - 1
    first = next(iter(values.values()))
    if probes is None:
        probes = torch.eye(model.cfg.d_model, dtype=first.dtype, device=first.device)
    if structure.lowest > layer:
        return probes.new_zeros(len(example), *probes.shape)
    footprint = Footprint.of(model, structure, first.dtype)
    fixed = footprint.graph(len(query)) + footprint.graph(len(example))
    fixed += 2 * len(example) * probes.numel() * first.itemsize
    row = footprint.across(len(query), len(example))
    if fixed + row > max_memory:
        raise ArgumentError(
            expected=f"max_memory of {fixed + row} bytes or more for {len(query)} tokens against "
            f"{len(example)}",
            found=f"max_memory = {max_memory}",
            fix='Raise it, or use positions="last_prompt"',
        )
    calls = record(model, values, example, layer, structure.sites, ()).calls
    inputs = [{name: inputs_of(found, values) for name, found in some.items()} for some in calls]
    shapes = {
        name: [call.output.shape for call in found]
        for some in calls
        for name, found in some.items()
    }
    blocks = []
    for some in probes.split(max(1, (max_memory - fixed) // row)):
        moves, dense = {}, {}
        gradients = sweep(model, values, structure, query, some, len(some))
        for here, found in zip(reversed(inputs), gradients, strict=False):
            dense |= found.dense
            for name in here.keys() & found.maps.keys():
                part = found.maps[name]
                moves[name] = here[name].gram(part.inputs) @ part.cotangents
        blocks.append(_pushed(model, values, structure.sites, shapes, example, layer, moves, dense))
    return torch.cat(blocks).transpose(0, 1)


def _pushed(
    model: TransformerBridge,
    values: Mapping[str, Tensor],
    sites: Sequence[Site],
    shapes: Mapping[str, Sequence[torch.Size]],
    ids: Ids,
    layer: int,
    moves: Mapping[str, Float[Tensor, "row pos m"]],
    dense: Mapping[str, Float[Tensor, "row entry"]],
) -> Float[Tensor, "row pos d"]:
    """Returns how Z_l(x′) moves with the outputs of linear maps and the other parameters."""
    tokens, mask = one_row(model, ids)
    added = {}
    for name, move in moves.items():
        parts = move.split([shape[:-1].numel() for shape in shapes[name]], 1)
        added[name] = [
            part.unflatten(1, shape[:-1]) for part, shape in zip(parts, shapes[name], strict=True)
        ]
    turned = {name: move.unflatten(1, values[name].shape) for name, move in dense.items()}

    def stream(extra: dict[str, list[Tensor]], other: dict[str, Tensor]) -> Tensor:
        left = {name: iter(parts) for name, parts in extra.items()}

        def add_to(site: Site) -> Callable[..., Tensor]:
            return lambda _module, _inputs, output: output + next(left[site.name])

        hooks = {site.module: add_to(site) for site in sites if site.name in left}
        with hooked(hooks), exchanged(model, {**values, **other}):
            return residuals(model, tokens, mask, (layer,))[0][layer][0]

    at_rest = {name: [torch.zeros_like(part[0]) for part in parts] for name, parts in added.items()}
    own = {name: values[name] for name in turned}

    def row(extra: dict[str, list[Tensor]], other: dict[str, Tensor]) -> Tensor:
        return torch.func.jvp(stream, (at_rest, own), (extra, other))[1]

    with torch.no_grad():
        return torch.vmap(row)(added, turned)
