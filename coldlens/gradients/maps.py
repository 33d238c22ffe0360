"""The linear maps of a model: modules whose output is a weight times their input."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from transformer_lens.model_bridge import TransformerBridge
from transformers.pytorch_utils import Conv1D

from coldlens.gradients.factored import Factored, Product
from coldlens.models.forward import residuals
from coldlens.models.hooks import hooked
from coldlens.models.linear import LINEAR_MAPS
from coldlens.models.parameters import Parameter, exchanged, parameters
from coldlens.vectors import numbers

_READERS: dict[Any, int] = {functional.linear: 1, torch.addmm: 2, functional.embedding: 1}
"""What such a module calls, and the place of the weight among the arguments."""


@dataclass(frozen=True, eq=False)
class LinearMap:
    """A module that holds a weight; a tied weight has several.

    Attributes:
        name: The weight.
        module: The module.
    """

    name: str
    module: nn.Module

    def gradient(self, inputs: Tensor, cotangents: Float[Tensor, "token m"]) -> Factored:
        """Returns the gradient of the weight.

        Args:
            inputs: What the map read, [token, n]; for an embedding ids [token].
            cotangents: The gradient of its output.

        Returns:
            In the weight's own shape.
        """
        if isinstance(self.module, nn.Embedding):
            read = inputs != (-1 if self.module.padding_idx is None else self.module.padding_idx)
            values = cotangents[read] * self.scale
            return Factored.lookups(inputs[read], values, self.module.num_embeddings)
        if isinstance(self.module, Conv1D):
            return Factored.products(inputs, cotangents)
        return Factored.products(cotangents, inputs)

    def change(self, weight: Factored, inputs: Tensor, matmul: Product = torch.matmul) -> Tensor:
        """Returns what adding something to the weight adds to the output.

        Args:
            weight: What is added.
            inputs: What the map reads: vectors, or ids.
            matmul: See `Factored.times`.

        Returns:
            In the shape of the output.
        """
        if isinstance(self.module, nn.Embedding):
            return weight.lookup(inputs) * self.scale
        if isinstance(self.module, Conv1D):
            return weight.transposed_times(inputs)
        return weight.times(inputs, matmul)

    @property
    def scale(self) -> Any:
        """The factor on an embedding's rows, as Gemma has one; `recognised` checks that."""
        scale: Any = getattr(self.module, "embed_scale", 1.0)
        weight: Any = self.module.weight
        return scale.to(weight.dtype) if isinstance(scale, Tensor) else scale


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a linear map: what it read, and what it returned, with its graph if it has one.

    Attributes:
        place: The map.
        inputs: What it read.
        output: What it returned.
    """

    place: LinearMap
    inputs: Tensor
    output: Tensor


def linear_maps(known: Mapping[str, Parameter]) -> dict[str, list[LinearMap]]:
    """Lists the weights that are held by linear maps alone.

    Args:
        known: The parameters of a model, see `parameters`.

    Returns:
        The maps of each weight.
    """
    found = {}
    for name, parameter in known.items():
        if all(key == "weight" and isinstance(m, LINEAR_MAPS) for m, key in parameter.slots):
            found[name] = [LinearMap(name, module) for module, _ in parameter.slots]
    return found


def recognised(model: TransformerBridge, ids: Int[Tensor, "row pos"]) -> list[Call]:
    """Lists the calls of the weights that act through linear maps alone, in one forward pass.

    Every use of such a weight is the one of a linear map that was called as a module: the same
    input, the same output (times the scale of an embedding). A weight that is used in any other
    way is left out. One that is no floating-point tensor is taken at its class's word, since what
    its module makes of it is its own affair.

    Args:
        model: The model.
        ids: Token ids of any sequence, without padding.

    Returns:
        The calls, without a graph.
    """
    known = parameters(model)
    maps = linear_maps(known)
    calls: list[Call] = []
    uses = _Uses(
        {id(known[name].tensor): name for name in maps if known[name].tensor.is_floating_point()}
    )

    checks: list[tuple[str, Tensor]] = []

    def look(place: LinearMap) -> Callable[..., None]:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            calls.append(Call(place, inputs[0].to(output.device), output))
            reads = uses.read.pop(place.name, [])
            checks.extend((place.name, _same(calls[-1], *read)) for read in reads)
            if len(reads) > 1:
                uses.other[place.name] += 1

        return hook

    looks = {place.module: look(place) for places in maps.values() for place in places}
    mask = torch.ones_like(ids, dtype=torch.bool)
    own = {name: known[name].tensor for name in maps}
    with torch.no_grad(), exchanged(model, own, known), hooked(looks), uses:
        residuals(model, ids, mask, (len(model.blocks) - 1,), logits=True)
    found = zip(checks, numbers([same for _, same in checks]), strict=True)
    strange = uses.other.keys() | uses.read.keys() | {name for (name, _), same in found if not same}
    return [call for call in calls if call.place.name not in strange]


def _same(call: Call, read: Tensor, given: Tensor) -> Bool[Tensor, ""]:
    """Returns whether a function was given what the map read, and gave what it returned."""
    if read.numel() != call.inputs.numel() or given.numel() != call.output.numel():
        return torch.zeros((), dtype=torch.bool, device=given.device)
    equal = (read.flatten() == call.inputs.flatten()).all()
    scaled = (given * call.place.scale).flatten()
    return equal & scaled.isclose(call.output.flatten()).all()


class _Uses(TorchFunctionMode):
    """Notes which functions are given a weight; reading its shape or dtype is no use."""

    def __init__(self, names: Mapping[int, str]) -> None:
        super().__init__()
        self._names = names
        self.read: dict[str, list[tuple[Tensor, Tensor]]] = {}
        self.other: Counter[str] = Counter()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Returns what the function gives."""
        result = func(*args, **(kwargs or {}))
        if not any(isinstance(leaf, Tensor) for leaf in tree_leaves(result)):
            return result
        for value in tree_leaves((args, kwargs)):
            name = self._names.get(id(value))
            if name is None:
                continue
            place = _READERS.get(func)
            if place is not None and len(args) > place and args[place] is value:
                read = args[1] if func is torch.addmm else args[0]
                self.read.setdefault(name, []).append((read, result))
            else:
                self.other[name] += 1
        return result
