"""In which form a gradient is kept: what a user asks for, and what that means for a model."""

from dataclasses import dataclass
from typing import Literal, get_args

from coldlens.checks import above_zero, at_least, between, one_of
from coldlens.errors import ArgumentError
from coldlens.gradients.estimate import Memory

Kind = Literal["auto", "dense", "factored", "low_rank"]
TOLERANCE = 0.01


@dataclass(frozen=True)
class Form:
    """How a gradient is kept.

    Attributes:
        kind: `"dense"`: a tensor a parameter. `"factored"`: for a linear map the inputs and the
            gradients of the outputs of the example tokens, exact; a tensor for the others.
            `"low_rank"`: these, truncated. `"auto"`: dense or factored, whichever needs less
            memory, or low-rank where `max_memory` forbids that.
        rank: The most outer products of a low-rank matrix.
        tolerance: Without a rank: the share of a matrix, in Frobenius norm, that each truncation
            may leave out; 0.01 by default.
        max_memory: What fitting may take beside the loaded model, in bytes; for `"auto"`.
    """

    kind: Kind = "auto"
    rank: int | None = None
    tolerance: float | None = None
    max_memory: float | int | None = None

    def __post_init__(self) -> None:
        """Checks that the settings fit each other.

        Raises:
            ArgumentError: If one is out of range, or is without effect for this kind.
        """
        one_of("gradient", self.kind, get_args(Kind))
        allowed = {"low_rank": ("rank", "tolerance"), "auto": ("max_memory",)}.get(self.kind, ())
        given = [
            name for name in ("rank", "tolerance", "max_memory") if getattr(self, name) is not None
        ]
        if self.rank is not None:
            at_least(1, "rank", self.rank)
        if self.tolerance is not None:
            between("tolerance", self.tolerance, 0, 1)
        if self.max_memory is not None:
            above_zero("max_memory", self.max_memory)
        if set(given) - set(allowed) or len(given) > 1:
            raise ArgumentError(
                expected='rank or tolerance for gradient="low_rank", max_memory for "auto"',
                found=f'gradient="{self.kind}" with {" and ".join(given)}',
                fix="Leave out what has no effect",
            )

    @property
    def may_truncate(self) -> bool:
        """Whether the gradient may be truncated."""
        return self.kind == "low_rank" or self.max_memory is not None


@dataclass(frozen=True)
class Plan:
    """What a form means for one model and one set of examples.

    Attributes:
        factored: The weights that are kept as outer products.
        rank: The most outer products of each, or None for no limit.
        tolerance: The share that each truncation may leave out, or None for none.
    """

    factored: frozenset[str] = frozenset()
    rank: int | None = None
    tolerance: float | None = None

    @property
    def truncated(self) -> bool:
        """Whether matrices are truncated."""
        return self.rank is not None or self.tolerance is not None

    def bytes(self, memory: Memory) -> int:
        """Returns what the gradient occupies; where only a tolerance bounds it, at most.

        Args:
            memory: What each form would occupy.

        Returns:
            The bytes.
        """
        if not self.factored:
            return memory.dense
        return memory.factored if self.rank is None else memory.low_rank(self.rank)

    def __str__(self) -> str:
        """Returns the form in words."""
        if self.truncated:
            return "in low rank" if self.rank is None else f"in rank {self.rank}"
        return "factored" if self.factored else "dense"


def plan(form: Form, memory: Memory) -> Plan:
    """Chooses what a form leaves open, where memory is not bounded.

    Args:
        form: What the user asked for.
        memory: What each form would occupy.

    Returns:
        The plan.
    """
    every = frozenset(memory.weights)
    if form.kind == "low_rank":
        tolerance = form.tolerance or (None if form.rank else TOLERANCE)
        return Plan(every, form.rank, tolerance)
    smaller = form.kind == "auto" and memory.factored < memory.dense
    return Plan(every) if form.kind == "factored" or smaller else Plan()
