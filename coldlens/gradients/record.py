"""What the linear maps read and returned in a forward pass, and the gradients that follow."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from coldlens.examples.batch import Batch
from coldlens.gradients.factored import Factored, joined
from coldlens.gradients.maps import Call, LinearMap
from coldlens.models.linear import hooked

_FULL = 0.75
"""Share of the tokens kept that must have a gradient."""


@contextmanager
def recorded(maps: Iterable[LinearMap]) -> Iterator[list[Call]]:
    """Keeps the calls of linear maps while there is a graph to keep.

    An output without a graph begins one, so that its gradient can be asked for although the
    weight has none.

    Args:
        maps: The maps.

    Yields:
        The calls in order; clear the list when they are done with.
    """
    calls: list[Call] = []

    def keep(place: LinearMap) -> Callable[..., None]:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if torch.is_grad_enabled():
                if not output.requires_grad:
                    output.requires_grad_()
                calls.append(Call(place, inputs[0].detach(), output))

        return hook

    with hooked({place.module: keep(place) for place in maps}):
        yield calls


def factors(
    calls: Sequence[Call], cotangents: Sequence[Tensor | None], batch: Batch
) -> dict[str, Factored]:
    """Puts together the gradients of weights over one batch.

    A prompt that a positive and a negative completion share has the same inputs in both rows, so
    its outer products are kept once, with both gradients of the output added up. Tokens without a
    gradient are left out.

    Args:
        calls: The calls of linear maps.
        cotangents: The gradient of each output; None where the loss does not depend on it.
        batch: The batch.

    Returns:
        By weight.
    """
    tokens = _Tokens(batch)
    found: dict[str, list[Factored]] = {}
    for call, cotangent in zip(calls, cotangents, strict=True):
        if cotangent is not None:
            one = call.place.gradient(*tokens.kept(call, cotangent))
            found.setdefault(call.place.name, []).append(one)
    return {name: joined(parts) for name, parts in found.items()}


class _Tokens:
    """Which tokens of a batch are kept, as the model sees them: real ones first in each row."""

    def __init__(self, batch: Batch) -> None:
        order = torch.arange(batch.tokens.shape[1], device=batch.tokens.device)
        again = order < batch.prompt_mask.sum(1, keepdim=True)
        again[: batch.size] = False
        self._shape = tuple(again.shape)
        self._again = again.flatten().nonzero().flatten()
        # With two sides, the same token of the first one is so many rows before.
        self._first = self._again - batch.size * again.shape[1]
        self._patterns: list[tuple[Tensor, Tensor]] = []
        self._inputs: dict[tuple[object, ...], Tensor] = {}

    def kept(self, call: Call, cotangent: Tensor) -> tuple[Tensor, Float[Tensor, "token m"]]:
        """Returns the inputs and the gradients of the outputs that count."""
        deltas = cotangent.flatten(0, -2)
        if len(self._again) and tuple(cotangent.shape[:-1]) == self._shape:
            shared = deltas.index_select(0, self._again)
            deltas = deltas.index_add(0, self._first, shared).index_fill_(0, self._again, 0)
        place = self._pattern(_alive(deltas))
        _, index = self._patterns[place]
        return self._read(call, place), deltas.index_select(0, index)

    def _pattern(self, alive: Bool[Tensor, " token"]) -> int:
        """Returns the place of a choice of tokens among those that were met before.

        One that has a few tokens more will do: inputs that are shared are worth some rows of zeros.
        """
        for place, (known, index) in enumerate(self._patterns):
            full = len(alive) == len(known) and alive.sum() >= _FULL * len(index)
            if full and not (alive & ~known).any():
                return place
        self._patterns.append((alive, alive.nonzero().flatten()))
        return len(self._patterns) - 1

    def _read(self, call: Call, place: int) -> Tensor:
        """Returns the inputs, the same tensor for all maps that read the same one."""
        raw = call.inputs
        key = (raw.data_ptr(), raw.shape, raw.stride(), place)
        if key not in self._inputs:
            ids = isinstance(call.place.module, nn.Embedding)
            flat = raw.expand(call.output.shape[:-1]).flatten() if ids else raw.flatten(0, -2)
            self._inputs[key] = flat.index_select(0, self._patterns[place][1])
        return self._inputs[key]


def _alive(deltas: Float[Tensor, "token m"]) -> Bool[Tensor, " token"]:
    """Returns where a row is not zero; nearly always its first entry tells."""
    alive = deltas[:, 0] != 0
    doubtful = (~alive).nonzero().flatten()
    alive[doubtful] = deltas.index_select(0, doubtful).any(1)
    return alive
