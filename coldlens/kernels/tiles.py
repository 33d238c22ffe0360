"""How blocks are cut so that their computation stays within a limit of memory."""

from collections.abc import Mapping
from dataclasses import dataclass

from coldlens.errors import ArgumentError
from coldlens.kernels.work import Footprint, Work

_NEAR_CACHE = 8 << 20  # bytes that pass through a block at once, and that factors take at once
_FEW_ROWS = 16


@dataclass(frozen=True)
class Item:
    """Some rows of one sequence."""

    place: int
    start: int
    stop: int

    @property
    def rows(self) -> slice:
        """The rows."""
        return slice(self.start, self.stop)


@dataclass(frozen=True)
class Tile:
    """Items that are swept together, and the parts of blocks that come of it.

    Attributes:
        items: The items.
        products: Left and right item of each part.
    """

    items: tuple[Item, ...]
    products: tuple[tuple[Item, Item], ...]


@dataclass(frozen=True)
class Plan:
    """How some work is done.

    Attributes:
        tiles: What is computed, one after another.
        at_once: Rows that go back through a block together.
        factors: Bytes for the factors of the weight form.
        peak: Bytes at most, beside the model.
    """

    tiles: tuple[Tile, ...]
    at_once: int
    factors: int
    peak: int


def plan(work: Work, footprint: Footprint, max_memory: int) -> Plan:
    """Cuts work into tiles.

    All sequences are swept together where memory allows. Otherwise they are packed into groups,
    two of which fit, and swept again for every two groups; where two sequences with all their
    rows do not fit, rows are cut as well.

    Args:
        work: The blocks.
        footprint: Memory of the model.
        max_memory: Limit in bytes.

    Returns:
        The plan.

    Raises:
        ArgumentError: If not even one row of two sequences fits.
    """
    lengths = [work.lengths[place] for place in work.places]
    longest = max(lengths)
    results = len(work.pairs) * footprint.itemsize * (1 if work.trace else 2 * work.rows**2)
    passing = footprint.passing(longest)
    rows, factors = work.rows, min(_NEAR_CACHE, max_memory // 4)

    def size(tokens: int) -> int:
        return rows * footprint.held(tokens) + footprint.graph(tokens)

    def room() -> int:
        # Beside the cotangents: one product in the Gram form, the chunk that passes, factors.
        product = rows * longest * footprint.widest * footprint.itemsize
        chunk = passing * _at_once(rows, passing)
        return max_memory - results - product - chunk - factors

    def fits() -> bool:
        every = sum(map(size, lengths))
        if work.trace and rows > _FEW_ROWS:  # few rows are cheaper than a second sweep
            return every <= room()
        one_tile = every <= room() and (work.trace or rows == work.rows)
        return one_tile or 2 * size(longest) <= room()

    while not fits():
        if rows == 1:
            # Four times the rest holds the factors too, which may take a quarter.
            needed = 2 * (max_memory - room() - factors + 2 * size(longest))
            raise ArgumentError(
                expected=f"max_memory of {needed} bytes or more for these sequences",
                found=f"max_memory = {max_memory}",
                fix="Raise it, ask for fewer blocks at once, or shorten the sequences",
            )
        rows = -(-rows // 2)
    starts = range(0, work.rows, rows)
    items = [
        [Item(place, start, min(start + rows, work.rows)) for place in work.places]
        for start in starts
    ]
    # Traces never mix rows, so that each chunk of rows is worked on alone.
    bunches = items if work.trace else [[item for some in items for item in some]]
    sizes = {place: size(work.lengths[place]) for place in work.places}
    groups = [group for bunch in bunches for group in _packed(bunch, sizes, room())]
    tiles = _tiles(work, groups)
    held = max(sum(sizes[item.place] for item in tile.items) for tile in tiles)
    return Plan(tiles, _at_once(rows, passing), factors, max_memory - room() + held)


def _at_once(rows: int, passing: int) -> int:
    return max(1, min(rows, _NEAR_CACHE // passing))


def _packed(items: list[Item], sizes: Mapping[int, int], room: int) -> list[list[Item]]:
    """Returns one group if everything fits, else groups of which any two fit."""
    if sum(sizes[item.place] for item in items) <= room:
        return [items]
    groups: list[list[Item]] = [[]]
    filled = 0
    for item in items:
        if filled + sizes[item.place] > room // 2:
            groups.append([])
            filled = 0
        groups[-1].append(item)
        filled += sizes[item.place]
    return [group for group in groups if group]


def _tiles(work: Work, groups: list[list[Item]]) -> tuple[Tile, ...]:
    """Returns a tile for every two groups that have a block in common."""
    group_of = {item: number for number, group in enumerate(groups) for item in group}
    items_of: dict[int, list[Item]] = {}
    for item in group_of:
        items_of.setdefault(item.place, []).append(item)
    products: dict[tuple[int, ...], list[tuple[Item, Item]]] = {}
    for i, j in work.pairs:
        for left in items_of[i]:
            for right in items_of[j]:
                needed = left.start == right.start or not work.trace
                if needed and (i != j or left.start <= right.start):
                    key = tuple(sorted((group_of[left], group_of[right])))
                    products.setdefault(key, []).append((left, right))
    return tuple(
        Tile(tuple(dict.fromkeys(item for pair in found for item in pair)), tuple(found))
        for found in products.values()
    )
