"""Cotangents of every parameter, a block at a time from the layer read down to the embeddings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.examples.tokens import Ids
from coldlens.kernels.forms import Factored, factored
from coldlens.kernels.inventory import Structure
from coldlens.kernels.record import record


@dataclass(frozen=True)
class Gradients:
    """The rows V J of one sequence, for the parameters of one segment.

    Attributes:
        maps: Those of linear maps, kept as factors.
        dense: The others, shape [row, entries].
    """

    maps: dict[str, Factored]
    dense: dict[str, Float[Tensor, "row entry"]]


def sweep(
    model: TransformerBridge,
    values: Mapping[str, Tensor],
    structure: Structure,
    ids: Ids,
    rows: Float[Tensor, "row d"],
    at_once: int,
) -> Iterator[Gradients]:
    """Computes V J_l(x)[last] without forming it, where l is the structure's last segment.

    Args:
        model: The model.
        values: Every parameter upstream, without a graph.
        structure: How each parameter is handled.
        ids: Token ids of x.
        rows: V.
        at_once: Rows that go back together; it changes memory and speed, not results.

    Yields:
        The gradients of each segment, from the last one down to the lowest with a parameter.
    """
    layer, lowest = len(structure.maps) - 1, structure.lowest
    kept = record(model, values, ids, layer, structure.sites, structure.dense_names)
    cotangents = rows.new_zeros(len(rows), *kept.ends[-1].shape)
    cotangents[:, 0, -1] = rows
    sums: dict[str, Tensor] = {}
    for k in range(layer, lowest - 1, -1):
        calls = {name: found for name, found in kept.calls.pop().items() if found}
        outputs = [call.output for found in calls.values() for call in found]
        leaves = [kept.leaves[name] for name in structure.dense[k]]
        start = kept.starts.pop()
        wanted = [*outputs, *leaves, *([] if start is None or k == lowest else [start])]
        grads = _pulled(kept.ends.pop(), wanted, cotangents, at_once)
        of_output = iter(grads)
        maps = {}
        for name, found in calls.items():
            parts = [next(of_output) for _ in found]
            one = factored(found, parts, values)
            maps[name] = one.trimmed() if k == layer else one
        dense = {}
        for name, grad in zip(structure.dense[k], of_output, strict=False):
            sums[name] = sums[name] + grad.flatten(1) if name in sums else grad.flatten(1)
            if not any(name in lower for lower in structure.dense[:k]):
                dense[name] = sums.pop(name)
        cotangents = grads[-1]
        yield Gradients(maps, dense)


def _pulled(
    end: Tensor, wanted: Sequence[Tensor], cotangents: Float[Tensor, "row 1 pos d"], at_once: int
) -> list[Tensor]:
    """Returns the cotangents of what is wanted, [row, *its shape]; zero where there is no path."""
    pulled: list[Tensor | None] = [None for _ in wanted]
    for start in range(0, len(cotangents), at_once):
        some = cotangents[start : start + at_once]
        found = torch.autograd.grad(
            end,
            wanted,
            some,
            is_grads_batched=True,
            allow_unused=True,
            retain_graph=start + at_once < len(cotangents),
        )
        if len(some) == len(cotangents):
            pulled = list(found)
            continue
        for place, grad in enumerate(found):
            if grad is not None:
                whole = pulled[place]
                if whole is None:
                    whole = grad.new_empty(len(cotangents), *grad.shape[1:])
                whole[start : start + at_once] = grad
                pulled[place] = whole
    return [
        end.new_zeros(len(cotangents), *into.shape) if grad is None else grad
        for into, grad in zip(wanted, pulled, strict=True)
    ]
