"""What the linear maps read and returned in a forward pass, and the gradients that follow."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from coldlens.examples.batch import Batch
from coldlens.gradients.factored import Factored, joined
from coldlens.gradients.maps import Call, LinearMap
from coldlens.models.hooks import hooked

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
                calls.append(Call(place, inputs[0].detach().to(output.device), output))

        return hook

    with hooked({place.module: keep(place) for place in maps}):
        yield calls


def factors(
    calls: Sequence[Call], cotangents: Sequence[Tensor | None], batch: Batch
) -> dict[str, Factored]:
    """Puts together the gradients of weights over one batch.

    A prompt that a positive and a negative completion share has the same inputs in both rows, so
    its outer products are kept once, with both gradients of the output added up. Tokens without a
    gradient are left out. The host waits once, for which those are, and not for each call.

    Args:
        calls: The calls of linear maps.
        cotangents: The gradient of each output; None where the loss does not depend on it.
        batch: The batch.

    Returns:
        By weight.
    """
    pairs = zip(calls, cotangents, strict=True)
    reached = [(call, one.flatten(0, -2)) for call, one in pairs if one is not None]
    if not reached:
        return {}
    again = _again(batch)
    repeated, *alive = _on_host([again.flatten(), *(_alive(deltas) for _, deltas in reached)])
    choices = _Choices(repeated, batch.size * again.shape[1])
    inputs: dict[tuple[object, ...], Tensor] = {}
    found: dict[str, list[Factored]] = {}
    for (call, deltas), mask in zip(reached, alive, strict=True):
        chosen = choices.fitting(mask, shared=call.output.shape[:-1] == again.shape)
        raw = call.inputs
        # The same tensor for all maps that read the same one.
        key = (raw.data_ptr(), raw.shape, raw.stride(), chosen)
        if key not in inputs:
            ids = isinstance(call.place.module, nn.Embedding)
            flat = raw.expand(call.output.shape[:-1]).flatten() if ids else raw.flatten(0, -2)
            inputs[key] = flat.index_select(0, chosen.rows(raw.device))
        one = call.place.gradient(inputs[key], chosen.summed(deltas))
        found.setdefault(call.place.name, []).append(one)
    return {name: joined(parts) if len(parts) > 1 else parts[0] for name, parts in found.items()}


def _again(batch: Batch) -> Bool[Tensor, "row pos"]:
    """Returns the prompts of the second side: as the model sees them, real tokens come first."""
    order = torch.arange(batch.tokens.shape[1], device=batch.tokens.device)
    again = order < batch.prompt_mask.sum(1, keepdim=True)
    again[: batch.size] = False
    return again


def _alive(deltas: Float[Tensor, "token m"]) -> Bool[Tensor, " token"]:
    """Returns where a row is not zero."""
    return (deltas.amax(1) != 0) | (deltas.amin(1) != 0)


def _on_host(masks: Sequence[Bool[Tensor, " _"]]) -> Sequence[Bool[Tensor, " _"]]:
    """Returns copies in main memory, fetched together."""
    together = torch.cat([mask.to(masks[0].device) for mask in masks]).cpu()
    return together.split([len(mask) for mask in masks])


class _Choices:
    """The choices of tokens that were made in one batch."""

    def __init__(self, again: Bool[Tensor, " token"], before: int) -> None:
        self._again = again.nonzero().flatten()
        # With two sides, the same token of the first one is so many rows before.
        self._first = self._again - before
        self._made: dict[bool, list[_Choice]] = {True: [], False: []}

    def fitting(self, alive: Bool[Tensor, " token"], *, shared: bool) -> "_Choice":
        """Returns a choice that has all of these tokens, once where both sides share them.

        One that has a few tokens more will do: inputs that are shared are worth some rows of zeros.
        """
        second = torch.full((len(alive),), -1)
        if shared:
            second[self._first] = self._again
            alive = alive.index_put((self._first,), alive[self._first] | alive[self._again])
            alive[self._again] = False
        made = self._made[shared]
        for one in made:
            if one.fits(alive):
                return one
        made.append(_Choice(alive, second))
        return made[-1]


class _Choice:
    """Some tokens of a batch; those of a shared prompt stand for both rows that have it."""

    def __init__(self, tokens: Bool[Tensor, " token"], second: Int[Tensor, " token"]) -> None:
        self._tokens, self._rows = tokens, tokens.nonzero().flatten()
        others = second[self._rows]
        self._places = (others >= 0).nonzero().flatten()
        self._others = others[self._places]
        self._sent: dict[torch.device, Sequence[Tensor]] = {}

    def fits(self, alive: Bool[Tensor, " token"]) -> bool:
        full = len(alive) == len(self._tokens) and int(alive.sum()) >= _FULL * len(self._rows)
        return full and not bool((alive & ~self._tokens).any())

    def rows(self, device: torch.device) -> Int[Tensor, " row"]:
        return self._on(device)[0]

    def summed(self, deltas: Float[Tensor, "token m"]) -> Float[Tensor, "row m"]:
        """Returns the gradients of the tokens."""
        rows, places, others = self._on(deltas.device)
        found = deltas.index_select(0, rows)
        return found.index_add_(0, places, deltas.index_select(0, others))

    def _on(self, device: torch.device) -> Sequence[Tensor]:
        if device not in self._sent:
            parts = (self._rows, self._places, self._others)
            self._sent[device] = torch.cat(parts).to(device).split([len(part) for part in parts])
        return self._sent[device]
