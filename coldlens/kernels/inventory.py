"""What a kernel is made of: which parameters are linear maps, which others, which do nothing."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.examples.tokens import Ids
from coldlens.kernels.forms import factored, gram_factors
from coldlens.kernels.record import Recording, Site, linear_sites, record

_SEED = 0


@dataclass(frozen=True)
class Structure:
    """The parameters of a kernel by segment: block k, and for k = 0 the embeddings too.

    Attributes:
        maps: Linear maps whose weight (and bias) needs no Jacobian, by name.
        dense: The other parameters that the segment uses.
        dead: Parameters that no gradient reaches, such as the fused copies that a bridge keeps.
    """

    maps: tuple[dict[str, Site], ...]
    dense: tuple[tuple[str, ...], ...]
    dead: tuple[str, ...]

    def upto(self, layer: int) -> "Structure":
        """Returns the part up to a shallower layer."""
        return Structure(self.maps[: layer + 1], self.dense[: layer + 1], self.dead)

    @property
    def lowest(self) -> int:
        """The first segment with a parameter of the kernel."""
        used = zip(self.maps, self.dense, strict=True)
        return next((k for k, parts in enumerate(used) if any(parts)), len(self.maps))

    @property
    def sites(self) -> list[Site]:
        """All linear maps."""
        return [site for maps in self.maps for site in maps.values()]

    @property
    def dense_names(self) -> tuple[str, ...]:
        """All other live parameters, each once."""
        return tuple(dict.fromkeys(name for names in self.dense for name in names))


def find_structure(
    model: TransformerBridge,
    values: Mapping[str, Tensor],
    ids: Ids,
    layer: int,
    names: Collection[str],
) -> Structure:
    """Runs one sequence forward and one random cotangent back, and looks at what happens.

    A linear map is taken as one where its structured kernel gives the squared norm of the true
    gradient of its parameters. Any other use of them shows up there (another module, another
    block, an unknown subclass), and they are differentiated directly.

    Args:
        model: The model.
        values: Every parameter upstream, without a graph.
        ids: Token ids of any sequence.
        layer: 0-based block.
        names: The parameters that the kernel is taken over.

    Returns:
        The structure.
    """
    kept = record(model, values, ids, layer, linear_sites(model, layer, names), names)
    calls = list(kept.calls)
    cotangent: Tensor | None = torch.randn(
        kept.ends[-1].shape, generator=torch.Generator().manual_seed(_SEED), dtype=torch.float64
    ).to(kept.ends[-1])
    norms: list[dict[str, Tensor]] = [{} for _ in range(layer + 1)]
    shares: list[dict[str, Tensor]] = [{} for _ in range(layer + 1)]
    for k in reversed(range(layer + 1)):
        if not kept.ends[k].requires_grad:  # nothing of the kernel in the embeddings and block 0
            continue
        norms[k], shares[k], cotangent = _probe(kept, k, values, cotangent)
    uses = {name: [k for k, found in enumerate(norms) if name in found] for name in names}
    maps: list[dict[str, Site]] = []
    for k, found in enumerate(shares):
        maps.append({})
        for name, share in found.items():
            site = calls[k][name][0].site
            once = all(uses[own] == [k] for own in site.names)
            total = sum(norms[k][own] for own in site.names) if once else torch.nan
            if abs(share - total) <= torch.finfo(share.dtype).eps ** 0.5 * share:
                maps[k][name] = site
    covered = {name for found in maps for site in found.values() for name in site.names}
    return Structure(
        tuple(maps),
        tuple(tuple(name for name in found if name not in covered) for found in norms),
        tuple(name for name in names if not uses[name]),
    )


def _probe(
    kept: Recording,
    k: int,
    values: Mapping[str, Tensor],
    cotangent: Tensor | None,
) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor | None]:
    """Returns squared norms by parameter and by map, and the cotangent of the segment's start."""
    calls, start = kept.calls[k], kept.starts[k]
    outputs = [call.output for found in calls.values() for call in found]
    wanted = [*outputs, *kept.leaves.values(), *([] if start is None else [start])]
    grads = torch.autograd.grad(kept.ends[k], wanted, cotangent, allow_unused=True)
    of_output = iter(grads[: len(outputs)])
    shares = {}
    for name, found in calls.items():
        parts = [next(of_output) for _ in found]
        if all(part is not None for part in parts):
            one = factored(found, [part.unsqueeze(0) for part in parts], values)
            left, right = gram_factors(one, one)
            shares[name] = (left * right).sum()
    of_leaf = zip(kept.leaves, grads[len(outputs) :], strict=False)
    norms = {name: grad.square().sum() for name, grad in of_leaf if grad is not None}
    return norms, shares, grads[-1]
