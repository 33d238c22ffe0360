"""Results that are kept for later, within a limit of memory."""

from collections import OrderedDict
from collections.abc import Hashable

from torch import Tensor


class Kept:
    """The tensors used last, as many as fit."""

    def __init__(self, limit: int) -> None:
        """Makes room.

        Args:
            limit: Bytes.
        """
        self._limit, self._used = limit, 0
        self._found: OrderedDict[Hashable, Tensor] = OrderedDict()

    def get(self, key: Hashable) -> Tensor | None:
        """Returns what was kept under a key, if it is still there.

        Args:
            key: The key.

        Returns:
            The tensor itself, not a copy.
        """
        if key in self._found:
            self._found.move_to_end(key)
        return self._found.get(key)

    def add(self, key: Hashable, value: Tensor) -> None:
        """Keeps a tensor, and forgets those that were not used for longest.

        Args:
            key: A key that is not in use.
            value: The tensor.
        """
        self._found[key] = value
        self._used += value.nbytes
        while self._used > self._limit:
            self._used -= self._found.popitem(last=False)[1].nbytes
