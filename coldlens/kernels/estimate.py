"""What a kernel will cost, before the work."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from transformer_lens.model_bridge import TransformerBridge

from coldlens.kernels.inventory import Structure
from coldlens.kernels.tiles import plan
from coldlens.kernels.work import Footprint, Form, Work
from coldlens.models.parameters import parameters


@dataclass(frozen=True)
class Estimate:
    """The cost of some kernel blocks over some layers.

    Attributes:
        operations: Multiply-adds.
        peak_bytes: Memory at most, beside the model.
        forms: How the share of each live parameter is computed, at the deepest layer.
    """

    operations: int
    peak_bytes: int
    forms: Mapping[str, Form | Literal["dense"]]

    def __str__(self) -> str:
        """Returns the estimate in a line."""
        used = list(self.forms.values())
        counts = ", ".join(f"{used.count(form)} {form}" for form in dict.fromkeys(used))
        return (
            f"{self.operations:.2g} multiply-adds, at most {self.peak_bytes / 1e6:.0f} MB; "
            f"parameters by form: {counts}"
        )


def estimate_structured(
    model: TransformerBridge,
    structure: Structure,
    work: Work,
    layers: Sequence[int],
    dtype: torch.dtype,
    max_memory: int,
) -> Estimate:
    """Estimates the structured computation of exact blocks.

    Args:
        model: The model.
        structure: How each parameter is handled, up to the deepest layer.
        work: The blocks of every layer.
        layers: The layers.
        dtype: The kernel's dtype.
        max_memory: Limit in bytes.

    Returns:
        The estimate. Attention's own share is left out, and so is what reading only the last
        token saves in the deepest block.
    """
    known = parameters(model)
    operations, peak = 0, 0
    forms: dict[str, Form | Literal["dense"]] = {}
    for layer in layers:
        part = structure.upto(layer)
        chosen = plan(work, Footprint.of(model, part, dtype), max_memory)
        peak = max(peak, chosen.peak)
        swept = [item for tile in chosen.tiles for item in tile.items]
        cotangents = sum((item.stop - item.start) * work.lengths[item.place] for item in swept)
        for site in part.sites:
            form = work.form(site.outputs, site.inputs)
            forms |= dict.fromkeys(site.names, form)
            operations += work.operations(form, site.outputs, site.inputs or 0)
            operations += cotangents * site.outputs * (site.inputs or 0)
        for name in part.dense_names:
            forms[name] = "dense"
            operations += work.rows**2 * len(work.pairs) * known[name].tensor.numel()
    return Estimate(operations, peak, forms)


def estimate_jacobian(
    model: TransformerBridge,
    work: Work,
    names: Mapping[int, Collection[str]],
    dtype: torch.dtype,
) -> Estimate:
    """Estimates Jacobians and their products.

    Args:
        model: The model.
        work: The blocks of every layer.
        names: The parameters of each layer's kernel.
        dtype: The kernel's dtype.

    Returns:
        The estimate.
    """
    known = parameters(model)
    entries = [sum(known[name].tensor.numel() for name in some) for some in names.values()]
    each = 2 * work.rows * sum(work.lengths.values()) + work.rows**2 * len(work.pairs)
    return Estimate(
        sum(entries) * each,
        max(entries) * work.rows * len(work.places) * dtype.itemsize,
        dict.fromkeys(names[max(names)], "dense"),
    )
