"""One forward pass, a graph segment a block, with what every linear map read and returned."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge
from transformers.pytorch_utils import Conv1D

from coldlens.examples.tokens import Ids
from coldlens.kernels.points import one_row
from coldlens.models.forward import residuals
from coldlens.models.hooks import hooked
from coldlens.models.linear import LINEAR_MAPS
from coldlens.models.parameters import exchanged, upstream


@dataclass(frozen=True, eq=False)
class Site:
    """A linear map in the model.

    Attributes:
        module: The module.
        weight: Name of its weight, or None if the kernel is not taken over it.
        bias: Name of its bias, or None likewise.
    """

    module: nn.Module
    weight: str | None
    bias: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that it stands for."""
        return tuple(name for name in (self.weight, self.bias) if name is not None)

    @property
    def name(self) -> str:
        """The first of them, which identifies it."""
        return self.names[0]

    @property
    def outputs(self) -> int:
        """The number m of outputs a token."""
        if isinstance(self.module, nn.Embedding):
            return self.module.embedding_dim
        return self.module.nf if isinstance(self.module, Conv1D) else self._linear.out_features

    @property
    def inputs(self) -> int | None:
        """The number n of inputs a token that have a weight; None for an embedding."""
        if isinstance(self.module, nn.Embedding):
            return None
        full = self.module.nx if isinstance(self.module, Conv1D) else self._linear.in_features
        return (full if self.weight else 0) + (1 if self.bias else 0)

    @property
    def _linear(self) -> nn.Linear:
        assert isinstance(self.module, nn.Linear)
        return self.module


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a linear map: what it read, and what it returned, with its graph."""

    site: Site
    inputs: Tensor
    output: Tensor


@dataclass
class Recording:
    """What a forward pass left behind; a segment is one block (the first has the embeddings too).

    Attributes:
        ends: Z_k with the graph of segment k alone, shape [1, pos, d_model].
        starts: Z_{k−1} as a leaf of segment k; None for k = 0.
        calls: By segment and site name.
        leaves: Parameters that are differentiated directly.
    """

    leaves: dict[str, Tensor]
    ends: list[Tensor] = field(default_factory=list)
    starts: list[Tensor | None] = field(default_factory=lambda: [None])
    calls: list[dict[str, list[Call]]] = field(default_factory=lambda: [{}])


def linear_sites(model: TransformerBridge, layer: int, names: Collection[str]) -> list[Site]:
    """Finds the linear maps that hold some of the named parameters.

    Args:
        model: The model.
        layer: 0-based block up to which the model runs.
        names: The parameters.

    Returns:
        The sites.
    """
    held: dict[nn.Module, dict[str, str]] = {}
    for name, parameter in upstream(model, layer).items():
        for module, attribute in parameter.slots if name in names else ():
            held.setdefault(module, {})[attribute] = name
    return [
        Site(module, found.get("weight"), found.get("bias"))
        for module, found in held.items()
        if isinstance(module, LINEAR_MAPS)
    ]


def record(
    model: TransformerBridge,
    values: Mapping[str, Tensor],
    ids: Ids,
    layer: int,
    sites: Collection[Site],
    dense: Collection[str],
) -> Recording:
    """Runs one sequence up to a layer and keeps what the kernel needs.

    Args:
        model: The model; its parameters get no gradient, its hooks are gone afterwards.
        values: Every parameter upstream, without a graph.
        ids: Token ids.
        layer: 0-based block.
        sites: The linear maps to watch.
        dense: Parameters to differentiate directly.

    Returns:
        The recording.
    """
    leaves = {name: values[name].detach().requires_grad_() for name in dense}
    kept = Recording(leaves)

    def cut(_layer: int, residual: Tensor) -> Tensor:
        kept.ends.append(residual)
        kept.starts.append(residual.detach().requires_grad_())
        kept.calls.append({})
        return kept.starts[-1]  # pyright: ignore[reportReturnType]

    def watch(site: Site) -> Callable[..., None]:
        def keep(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if not output.requires_grad:
                output.requires_grad_()
            kept.calls[-1].setdefault(site.name, []).append(Call(site, inputs[0].detach(), output))

        return keep

    hooks = {site.module: watch(site) for site in sites}
    with hooked(hooks), exchanged(model, {**values, **leaves}):
        residuals(model, *one_row(model, ids), range(layer + 1), edit=cut)
    # The last cut opened a segment that no pass went through.
    kept.starts.pop()
    kept.calls.pop()
    return kept
