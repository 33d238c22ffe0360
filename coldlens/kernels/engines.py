"""The algorithms behind `EmpiricalNTK`, with one interface."""

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.examples.tokens import Ids
from coldlens.kernels.audit import audit_structure
from coldlens.kernels.estimate import Estimate, estimate_jacobian, estimate_structured
from coldlens.kernels.every_token import structured_cross_block
from coldlens.kernels.inventory import Structure, find_structure
from coldlens.kernels.jacobian import jacobian_blocks, jacobian_cross_block
from coldlens.kernels.moments import haar_rows
from coldlens.kernels.points import Pair
from coldlens.kernels.structured import structured_blocks
from coldlens.kernels.work import Work
from coldlens.models.guards import require_eager, working_dtype
from coldlens.models.offload import device_of
from coldlens.models.parameters import accurate_parameters, upstream


@dataclass(frozen=True)
class Coverage:
    """How the parameters of a kernel are handled at one layer, by name.

    Attributes:
        structured: Weights and biases of linear maps, which need no Jacobian.
        dense: The others, such as the scales of norms, with a Jacobian of their own.
        dead: Those that lie upstream but that no gradient reaches, such as the fused copies of
            query, key and value weights that a bridge keeps.
    """

    structured: tuple[str, ...]
    dense: tuple[str, ...]
    dead: tuple[str, ...]


@dataclass(frozen=True)
class Setting:
    """What an algorithm is told.

    Attributes:
        model: The model.
        points: Token ids of all sequences; the first serves to look at the model.
        layers: 0-based blocks, ascending.
        params: Names of the parameters that the kernel is taken over.
        max_memory: Limit in bytes.
        audit: Whether to check for forgotten parameters.
        progress: Whether to show progress bars.
        probes: How many random directions a sketch takes, at most d_model.
        seed: Seed of these.
    """

    model: TransformerBridge
    points: tuple[Ids, ...]
    layers: tuple[int, ...]
    params: tuple[str, ...]
    max_memory: int
    audit: bool
    progress: bool
    probes: int
    seed: int

    def names(self, layer: int) -> tuple[str, ...]:
        """Returns those of one layer's kernel; there may be none."""
        known = upstream(self.model, layer)
        return tuple(name for name in self.params if name in known)


class Engine(ABC):
    """An algorithm for the kernel of some sequences."""

    def __init__(self, setting: Setting) -> None:
        """Stores what it is told.

        Args:
            setting: The setting.
        """
        self.setting = setting

    @abstractmethod
    def blocks(self, layer: int, pairs: Collection[Pair], *, trace: bool) -> dict[Pair, Tensor]:
        """Computes K_l(x, x′) or its trace for pairs of sequences read at their last tokens.

        Args:
            layer: 0-based block.
            pairs: Places of the sequences.
            trace: Whether only traces are wanted.

        Returns:
            Shape [d_model, d_model] or scalar for each pair.
        """

    @abstractmethod
    def across(self, layer: int, query: Ids, example: Ids) -> Float[Tensor, "pos d d"]:
        """Computes K_l((x, last), (x′, t)) for every token t of x′.

        Args:
            layer: 0-based block.
            query: Token ids of x.
            example: Token ids of x′.

        Returns:
            A block a token; rows index the query's coordinate.
        """

    @abstractmethod
    def coverage(self, layer: int) -> Coverage:
        """Returns how the parameters of a layer's kernel are handled."""

    @abstractmethod
    def estimate(self, work: Work) -> Estimate:
        """Returns the cost of some blocks at every layer."""

    @cached_property
    def structure(self) -> Structure:
        """What the model is made of, up to the deepest layer."""
        setting, deepest = self.setting, max(self.setting.layers)
        values = accurate_parameters(setting.model, deepest)
        with torch.inference_mode(False), torch.enable_grad():
            return find_structure(setting.model, values, setting.points[0], deepest, setting.params)


class JacobianEngine(Engine):
    """d × P Jacobians and their products: slow, literal."""

    def blocks(self, layer: int, pairs: Collection[Pair], *, trace: bool) -> dict[Pair, Tensor]:
        """Returns products of Jacobians; see `Engine.blocks`."""
        setting = self.setting
        names = setting.names(layer)
        found = jacobian_blocks(setting.model, setting.points, layer, names, pairs)
        return {pair: block.trace() if trace else block for pair, block in found.items()}

    def across(self, layer: int, query: Ids, example: Ids) -> Float[Tensor, "pos d d"]:
        """Returns products of Jacobians; see `Engine.across`."""
        names = self.setting.names(layer)
        return jacobian_cross_block(self.setting.model, query, example, layer, names)

    def coverage(self, layer: int) -> Coverage:
        """Returns that everything is dense; see `Engine.coverage`."""
        dead = set(self.structure.dead)
        names = self.setting.names(layer)
        return Coverage(
            (), tuple(n for n in names if n not in dead), tuple(n for n in names if n in dead)
        )

    def estimate(self, work: Work) -> Estimate:
        """Returns the cost of Jacobians and their products; see `Engine.estimate`."""
        model = self.setting.model
        names = {layer: self.setting.names(layer) for layer in self.setting.layers}
        return estimate_jacobian(model, work, names, working_dtype(model))


class StructuredEngine(Engine):
    """Structured derivatives: no Jacobian of a weight matrix."""

    def __init__(self, setting: Setting) -> None:
        """Stores what it is told.

        Args:
            setting: The setting.
        """
        super().__init__(setting)
        self._audited: set[int] = set()

    def blocks(self, layer: int, pairs: Collection[Pair], *, trace: bool) -> dict[Pair, Tensor]:
        """Returns structured products; see `Engine.blocks`."""
        setting = self.setting
        return structured_blocks(
            setting.model,
            accurate_parameters(setting.model, layer),
            self._checked(layer),
            setting.points,
            pairs,
            probes=self._rows(),
            trace=trace,
            max_memory=setting.max_memory,
            progress=setting.progress,
        )

    def across(self, layer: int, query: Ids, example: Ids) -> Float[Tensor, "pos d d"]:
        """Returns reverse mode at the query, forward mode at the example; see `Engine.across`."""
        model = self.setting.model
        require_eager(model, "the kernel at all tokens")
        return structured_cross_block(
            model,
            accurate_parameters(model, layer),
            self._checked(layer),
            query,
            example,
            max_memory=self.setting.max_memory,
        )

    def coverage(self, layer: int) -> Coverage:
        """Returns what is a linear map and what is not; see `Engine.coverage`."""
        structure = self.structure.upto(layer)
        dead = set(structure.dead)
        return Coverage(
            tuple(name for site in structure.sites for name in site.names),
            structure.dense_names,
            tuple(name for name in self.setting.names(layer) if name in dead),
        )

    def estimate(self, work: Work) -> Estimate:
        """Returns the cost of structured products; see `Engine.estimate`."""
        setting = self.setting
        dtype = working_dtype(setting.model)
        return estimate_structured(
            setting.model, self.structure, work, setting.layers, dtype, setting.max_memory
        )

    def _rows(self) -> Float[Tensor, "row d"] | None:
        """Returns V, for which V K Vᵀ is computed; None for the identity."""
        return None

    def _checked(self, layer: int) -> Structure:
        structure, setting = self.structure.upto(layer), self.setting
        names = setting.names(layer)
        if setting.audit and names and layer not in self._audited:
            audit_structure(setting.model, structure, setting.points[0], names, setting.max_memory)
            self._audited.add(layer)
        return structure


class SketchedEngine(StructuredEngine):
    """Structured derivatives along a few random directions: V K Vᵀ instead of K."""

    def blocks(self, layer: int, pairs: Collection[Pair], *, trace: bool) -> dict[Pair, Tensor]:
        """Returns V K Vᵀ, or an unbiased estimate of tr K; see `Engine.blocks`."""
        found = super().blocks(layer, pairs, trace=trace)
        factor = self.setting.model.cfg.d_model / self.setting.probes if trace else 1.0
        return {pair: factor * value for pair, value in found.items()}

    def _rows(self) -> Float[Tensor, "row d"]:
        """Returns V, the same for all blocks."""
        setting, model = self.setting, self.setting.model
        device = device_of(model.original_model)
        drawn = haar_rows(setting.probes, model.cfg.d_model, setting.seed)
        return drawn.to(device, working_dtype(model))


ENGINES: dict[str, type[Engine]] = {
    "structured": StructuredEngine,
    "jacobian": JacobianEngine,
    "sketched": SketchedEngine,
}
"""Every algorithm by its name."""
