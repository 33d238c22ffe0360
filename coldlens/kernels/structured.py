"""Exact kernel blocks by structured derivatives: no Jacobian of a weight matrix is formed."""

from collections.abc import Collection, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm
from transformer_lens.model_bridge import TransformerBridge

from coldlens.examples.tokens import Ids
from coldlens.kernels.forms import Factored, gram_factors, weight_factor
from coldlens.kernels.inventory import Structure
from coldlens.kernels.points import Pair
from coldlens.kernels.reverse import Gradients, sweep
from coldlens.kernels.tiles import Item, Plan, plan
from coldlens.kernels.work import Footprint, Work

_STRIPS = 4
"""Strips of a symmetric block, of which the part below the diagonal is left out."""

Products = Mapping[tuple[Item, Item], Tensor]
"""Where the product of two items' gradients is added: a part of a block, or a scalar."""


def structured_blocks(
    model: TransformerBridge,
    values: Mapping[str, Tensor],
    structure: Structure,
    points: Sequence[Ids],
    pairs: Collection[Pair],
    *,
    probes: Float[Tensor, "row d"] | None = None,
    trace: bool = False,
    max_memory: int = 2 << 30,
    progress: bool = False,
) -> dict[Pair, Tensor]:
    """Computes V K_l(x, x′) Vᵀ, or its trace, each sequence read at its last token.

    Args:
        model: The model.
        values: Every parameter upstream of the structure's last layer l, without a graph; their
            dtype is the kernel's.
        structure: How each parameter is handled.
        points: Token ids of the sequences.
        pairs: Which two sequences, by their places in `points`.
        probes: V; by default the identity.
        trace: Compute traces only, with r times fewer operations.
        max_memory: Limit in bytes, beside the model.
        progress: Show a progress bar.

    Returns:
        Shape [row, row] for each pair, or a scalar; rows of a block index the first sequence.
    """
    first = next(iter(values.values()))
    if probes is None:
        probes = torch.eye(model.cfg.d_model, dtype=first.dtype, device=first.device)
    work = work_of(points, pairs, len(probes), trace=trace)
    chosen = plan(work, Footprint.of(model, structure, first.dtype), max_memory)
    shape = () if trace else (len(probes), len(probes))
    totals = {pair: probes.new_zeros(shape) for pair in work.pairs}
    for tile in tqdm(chosen.tiles, desc="kernel", leave=False, disable=not progress):
        sweeps = {
            item: sweep(
                model, values, structure, points[item.place], probes[item.rows], chosen.at_once
            )
            for item in tile.items
        }
        targets = {}
        for left, right in tile.products:
            total = totals[left.place, right.place]
            targets[left, right] = total if trace else total[left.rows, right.rows]
        for _ in range(structure.lowest, len(structure.maps)):
            _add_segment({item: next(some) for item, some in sweeps.items()}, targets, chosen)
    found = {}
    for (i, j), total in totals.items():
        if i == j and not trace:
            total = total.triu() + total.triu(1).T
        found[i, j], found[j, i] = total, total if trace else total.T
    return {pair: found[pair] for pair in pairs}


def work_of(points: Sequence[Ids], pairs: Collection[Pair], rows: int, *, trace: bool) -> Work:
    """Describes some blocks; K(x′, x) = K(x, x′)ᵀ is computed once.

    Args:
        points: Token ids of the sequences.
        pairs: Which two of them.
        rows: Rows of a block.
        trace: Whether only traces are wanted.

    Returns:
        The work.
    """
    once = sorted({(min(pair), max(pair)) for pair in pairs})
    lengths = {place: len(points[place]) for pair in once for place in pair}
    return Work(lengths, once, rows, trace)


def _add_segment(segment: Mapping[Item, Gradients], targets: Products, chosen: Plan) -> None:
    """Adds what the parameters of one segment contribute to all products."""
    for name in dict.fromkeys(name for found in segment.values() for name in found.maps):
        maps = {item: found.maps[name] for item, found in segment.items() if name in found.maps}
        _add_map(maps, targets, chosen.factors)
    for name in dict.fromkeys(name for found in segment.values() for name in found.dense):
        for (left, right), target in targets.items():
            _add(target, segment[left].dense[name], segment[right].dense[name], same=left == right)


def _add_map(parts: Mapping[Item, Factored], targets: Products, spare: int) -> None:
    """Adds the share of one linear map to all products; `spare` bytes are for weight factors."""
    targets = {pair: out for pair, out in targets.items() if parts.keys() >= set(pair)}
    if not targets:
        return
    one = next(iter(parts.values()))
    rows, _, outputs = one.cotangents.shape
    lengths = {item: len(part.inputs) for item, part in parts.items()}
    trace = next(iter(targets.values())).ndim == 0
    form = Work(lengths, targets.keys(), rows, trace).form(outputs, one.inputs.width)
    if form == "Gram":
        for (left, right), target in targets.items():
            _add(target, *gram_factors(parts[left], parts[right]), same=left == right)
        return
    assert one.inputs.width is not None
    entries = sum(len(part.cotangents) for part in parts.values()) * one.inputs.width
    step = max(1, spare // (entries * one.cotangents.itemsize))
    for start in range(0, outputs, step):
        factors = {
            item: weight_factor(part, slice(start, start + step)) for item, part in parts.items()
        }
        for (left, right), target in targets.items():
            _add(target, factors[left], factors[right], same=left == right)


def _add(target: Tensor, left: Tensor, right: Tensor, *, same: bool) -> None:
    """Adds L Rᵀ, of which only the upper part counts if both are the same, or ⟨L, R⟩."""
    if target.ndim == 0:
        target += torch.linalg.vecdot(left, right).sum()
        return
    step = -(-len(left) // (_STRIPS if same else 1))
    for start in range(0, len(left), step):
        target[start : start + step, start:].addmm_(left[start : start + step], right[start:].T)
