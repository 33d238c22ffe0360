"""Memory of a computation at any size, from what it allocates at a few small ones."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from coldlens.capture.release import release
from coldlens.models.casting import Deferred


class Meter(TorchDispatchMode):
    """Counts the bytes of the tensors that were made inside and still live, after each operation.

    What an operation allocates for itself and frees before it returns is not seen.

    Attributes:
        levels: The bytes, one number an operation.
    """

    def __init__(self) -> None:
        """Begins at zero."""
        super().__init__()
        self.levels: list[int] = []
        self._live = 0
        self._known: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Returns what the function gives."""
        if Deferred in types:
            with self:  # what it makes for the operation counts too
                return Deferred.__torch_dispatch__(func, types, args, kwargs)
        given = tree_leaves((args, kwargs))
        result = func(*args, **(kwargs or {}))
        self._note(given, new=False)
        self._note(tree_leaves(result), new=True)
        self.levels.append(self._live)
        return result

    def _note(self, values: list[Any], *, new: bool) -> None:
        for value in values:
            # Forward mode has a zero without memory for what does not move.
            if not isinstance(value, Tensor) or value._is_zerotensor():
                continue
            storage = value.untyped_storage()
            key = storage._cdata
            if key not in self._known:
                size = storage.nbytes() if new else 0
                self._known[key] = weakref.ref(storage, partial(self._gone, key, size))
                self._live += size

    def _gone(self, key: int, size: int, _: Any) -> None:
        del self._known[key]
        self._live -= size


class Size(NamedTuple):
    """The size of a batch.

    Attributes:
        examples: How many.
        tokens: Tokens of each of their sequences.
        answer: Those among them that are the completion's.
    """

    examples: int
    tokens: int
    answer: int

    @property
    def terms(self) -> list[float]:
        """What memory is a sum of: attention goes with the square of the length."""
        each = [1, self.tokens, self.tokens**2, self.answer]
        return [1.0, *(float(self.examples * one) for one in each)]


Prepare = Callable[[Size], Callable[[], object]]
"""From a size to a computation of that size, whose own inputs are there before it runs."""

SMALL = (Size(2, 6, 2), Size(2, 8, 2), Size(2, 10, 2), Size(2, 8, 4), Size(3, 8, 2))
"""Where five terms are told apart; two examples at least, since one alone is copied less often."""


@dataclass(frozen=True, eq=False)
class Profile:
    """The memory of a computation as a function of the size.

    A computation does the same operations at every size, and what lives after each of them is a
    polynomial of the size; so it is known at all sizes from a few, and its peak is the largest of
    the polynomials, which need not be the one that is largest at small sizes.

    Attributes:
        coefficients: Bytes by operation and term of `Size.terms`.
    """

    coefficients: Float[Tensor, "operation term"]

    @classmethod
    def of(cls, prepare: Prepare, longest: Size, least: int = 0) -> "Profile":
        """Runs a computation at small sizes, and looks.

        Where the number of operations depends on the size, as with a loss that goes through tokens
        one by one, two of the longest examples are run, and memory is taken to go with their number
        (at least that of two), which is more than it does.

        Args:
            prepare: From a size to the computation.
            longest: The longest sequences, for which the profile will be asked.
            least: Tokens that every prompt must have.

        Returns:
            The profile.
        """
        small = [size._replace(tokens=size.tokens + least) for size in SMALL]
        prepare(small[0])()  # what is kept from the first run on is no part of the others
        found = [_levels(prepare(size)) for size in small]
        if len({len(levels) for levels in found}) > 1:
            two = max(_levels(prepare(longest._replace(examples=2))))
            return cls(torch.tensor([[two, 0, 0, 0, 0], [0, two / 2, 0, 0, 0]]).double())
        terms = torch.tensor([size.terms for size in small], dtype=torch.float64)
        return cls((terms.pinverse() @ torch.tensor(found, dtype=torch.float64)).T)

    def peak(self, size: Size) -> float:
        """Returns the most that lives at once, in bytes.

        Args:
            size: Any size.

        Returns:
            The largest polynomial there.
        """
        terms = torch.tensor(size.terms, dtype=torch.float64)
        return max(0.0, (self.coefficients @ terms).max().item())


def _levels(run: Callable[[], object]) -> list[int]:
    with Meter() as meter:
        run()
    release()
    return meter.levels
