"""A pass over the examples within a budget of memory: in which forms, how many examples at once."""

import logging
import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from coldlens.capture.forms import MEASURED
from coldlens.capture.meter import Prepare, Profile, Size
from coldlens.capture.needs import Wanted, loss_and_form
from coldlens.errors import ArgumentError
from coldlens.gradients import Memory, plan
from coldlens.gradients.form import Plan
from coldlens.words import counted

logger = logging.getLogger(__name__)

MARGIN = 1.6
"""What a process holds over what its tensors do, at most, as it was seen with the allocator of
glibc, which keeps part of what is freed; 1.1 where it is told not to (MALLOC_MMAP_THRESHOLD_)."""
WORKSPACE = 16 << 20
"""Bytes that do not depend on sizes: buffers of matrix products, what is left of the trials."""
LADDER = 6
"""Residual streams that are kept at once while a step is chosen."""

Plans = Mapping[Wanted, Plan]


@dataclass(frozen=True)
class Chosen:
    """How a pass is done.

    Attributes:
        plans: The form of each gradient.
        batch_size: Examples a batch.
        bytes: What it holds at most, beside the model.
        limit: What it may hold.
    """

    plans: Plans
    batch_size: int
    bytes: int
    limit: float | int

    def __str__(self) -> str:
        """Returns the estimate in a sentence."""
        forms = " and ".join(dict.fromkeys(map(str, self.plans.values())))
        return (
            f"{counted(self.batch_size, 'example')} at once, the gradient {forms}: at most "
            f"{self.bytes / 1e6:,.1f} MB beside the model, of max_memory = {self.limit / 1e6:,.1f}"
        )


@dataclass(frozen=True, eq=False)
class Budget:
    """What a pass may hold, and what is known of it beforehand.

    It counts every gradient of the pass, bounded or not, and one batch: its activations, graph,
    logits, output gradients, own tensors or outer products, and what truncating them takes. After
    the pass the gradient is put together and moves the model at a few prompts, for the step of
    ColdFD. Where several methods with a bound share a pass, the least bound holds for all of it.

    Attributes:
        memories: What each gradient occupies.
        longest: The tokens of the longest example, with as many examples as there are.
        pilot: The prompts that are read after the pass.
        tokens: Tokens of all examples.
        stream: Bytes of the residual stream at one token and all layers.
        results: Bytes of what is kept of every example.
        run: From plans to a pass over one batch of a size.
        read: A forward pass without a graph.
        least: Tokens of a prompt that have to be there, for a window of positions.
    """

    memories: Mapping[Wanted, Memory]
    longest: Size
    pilot: Size
    tokens: int
    stream: int
    results: int
    run: Callable[[Plans], Prepare]
    read: Prepare
    least: int = 0

    @cached_property
    def limit(self) -> float | int:
        """The least bound."""
        forms = [loss_and_form(wanted)[1] for wanted in self.memories]
        return min(form.max_memory for form in forms if form.max_memory is not None)

    def choose(self, batch_size: int) -> Chosen:
        """Chooses forms and batch size.

        Exact forms with smaller batches come before low rank. In low rank a batch takes no more
        than half where it can be cut, and the rank is the highest that the rest allows.

        Args:
            batch_size: The most examples a batch.

        Returns:
            The choice.

        Raises:
            ArgumentError: If not even one example fits with outer products of rank one.
        """
        asked = range(1, min(batch_size, self.longest.examples) + 1)
        exact = {w: plan(loss_and_form(w)[1], memory) for w, memory in self.memories.items()}
        if self._bytes(self._after(exact)) <= self.limit:
            profile = Profile.of(self.run(exact), self.longest, self.least)
            fit = bisect_right(asked, self.limit, key=lambda b: self._peak(exact, profile, b))
            if fit:
                return Chosen(exact, fit, self._peak(exact, profile, fit), self.limit)

        bounded = [w for w in exact if loss_and_form(w)[1].max_memory is not None]

        def low(rank: int) -> Plans:
            cut = {w: Plan(frozenset(self.memories[w].weights), rank) for w in bounded}
            return {**exact, **cut}

        profile = Profile.of(self.run(low(1)), self.longest, self.least)
        fit = bisect_right(asked, self.limit / 2, key=lambda b: self._peak(low(1), profile, b))
        fit, ranks = max(1, fit), range(1, self.tokens + 1)
        rank = bisect_right(ranks, self.limit, key=lambda r: self._peak(low(r), profile, fit))
        if rank < 1:
            raise ArgumentError(
                expected=f"max_memory of {self._peak(low(1), profile, 1)} bytes or more",
                found=f"max_memory = {self.limit}",
                fix="Raise it, fit fewer layers, or leave out the longest examples",
            )
        logger.warning(
            "the gradient is truncated to rank %d: dense it would need %.3g bytes, factored %.3g, "
            "and max_memory is %.3g",
            rank,
            sum(memory.dense for memory in self.memories.values()),
            sum(memory.factored for memory in self.memories.values()),
            self.limit,
        )
        return Chosen(low(rank), fit, self._peak(low(rank), profile, fit), self.limit)

    def _peak(self, plans: Plans, profile: Profile, examples: int) -> int:
        size = self.longest._replace(examples=examples)
        during = profile.peak(size)
        during += max(self._cutting(plans[w], memory, size) for w, memory in self.memories.items())
        for wanted, memory in self.memories.items():
            chosen = plans[wanted]
            during += chosen.bytes(memory)
            if chosen.factored and not chosen.truncated:
                # The outer products of the last batch are in its profile.
                products = memory.factored - memory.itemsize * memory.others
                during -= examples / self.longest.examples * products
        return self._bytes(max(during, self._after(plans)))

    def _bytes(self, tensors: float | int) -> int:
        return math.ceil(MARGIN * (tensors + self.results) + WORKSPACE)

    def _cutting(self, chosen: Plan, memory: Memory, size: Size) -> float | int:
        """Returns what truncating takes beside the same at rank one, which is in the profile."""
        if not chosen.truncated:
            return 0
        rank = self.tokens if chosen.rank is None else chosen.rank
        rows = 2 * size.examples * size.tokens + rank
        cut = 4 * rank * memory.widest + 8 * memory.itemsize * rows**2
        return cut + 3 * MEASURED * size.tokens * self.stream

    def _after(self, plans: Plans) -> float | int:
        """Returns the gradients, and the most that a method adds to them after the pass."""
        kept = sum(plans[wanted].bytes(memory) for wanted, memory in self.memories.items())
        return kept + max(self._used(plans[w], memory) for w, memory in self.memories.items())

    def _used(self, chosen: Plan, memory: Memory) -> float | int:
        streams = LADDER * self.pilot.examples * self.pilot.tokens * self.stream
        if not chosen.factored:
            return self._reading + streams + memory.dense
        moved = self._reading + streams + memory.largest + memory.itemsize * memory.others
        rank = self.tokens if chosen.rank is None else min(chosen.rank, self.tokens)
        joining = 0 if chosen.truncated else memory.joining
        return max(moved, joining, 3 * memory.itemsize * rank**2)

    @cached_property
    def _reading(self) -> float | int:
        return Profile.of(self.read, self.pilot).peak(self.pilot)
