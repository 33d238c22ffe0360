"""A gradient that grows batch by batch, in one form."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from coldlens.gradients.direction import Part
from coldlens.gradients.factored import Factored, joined
from coldlens.gradients.form import Plan
from coldlens.gradients.low_rank import truncated
from coldlens.vectors import numbers

Measure = Callable[[Mapping[str, Part]], list[Tensor]]
"""From a direction to what it does to the residual stream of some inputs, by layer."""


class GradientSum:
    """The mean over examples of the gradients of parameters, from sums over batches.

    Outer products that are to be truncated are so after every batch, so that no more than one
    batch is kept in full. What that does to the displacement is measured: the exact displacement of
    a few inputs is linear in the gradient, and is added up from the batches before they are cut.
    """

    def __init__(
        self, plan: Plan, count: int, dtype: torch.dtype, measure: Measure | None = None
    ) -> None:
        """Begins at zero.

        Args:
            plan: What is kept as outer products, and what of them.
            count: What the sum is divided by.
            dtype: The dtype of the sums.
            measure: What a direction does to a few inputs, where there is something to truncate.
        """
        self.plan, self._count, self._dtype = plan, count, dtype
        self._measure = measure if plan.truncated else None
        self._dense: dict[str, Tensor] = {}
        self._pieces: dict[str, list[Factored]] = {}
        self._exact: list[Tensor] = []

    def add(self, dense: Mapping[str, Tensor | None], maps: Mapping[str, Factored]) -> None:
        """Adds the gradient of one batch.

        Args:
            dense: By parameter; None where the loss does not depend on it.
            maps: By weight of linear maps.
        """
        found = {name: grad.to(self._dtype) for name, grad in dense.items() if grad is not None}
        own = {name: part.to(self._dtype) for name, part in maps.items()}
        if self._measure is not None:
            here = self._measure({**found, **own})
            before = self._exact or [torch.zeros_like(one) for one in here]
            self._exact = [a + b for a, b in zip(before, here, strict=True)]
        for name, grad in found.items():
            if name in self._dense:
                self._dense[name] += grad
            else:
                self._dense[name] = grad.clone()
        for name, part in own.items():
            pieces = self._pieces.setdefault(name, [])
            pieces.append(part)
            if self.plan.truncated:
                whole = joined(pieces)
                self._pieces[name] = [truncated(whole, self.plan.rank, self.plan.tolerance)]

    def mean(self) -> dict[str, Part]:
        """Returns the gradient, and lets go of it.

        Returns:
            By parameter.
        """
        result: dict[str, Part] = {
            name: total.div_(self._count) for name, total in self._dense.items()
        }
        memo: dict[tuple[int, ...], Tensor] = {}
        for name in list(self._pieces):
            result[name] = joined(self._pieces.pop(name), 1 / self._count, memo)
        return result

    def error(self, mean: Mapping[str, Part]) -> tuple[float, ...]:
        """Measures what truncation did.

        Args:
            mean: What `mean` returned.

        Returns:
            ‖Δ − Δ′‖ / ‖Δ‖ by layer, Δ′ the displacement of the truncated gradient; empty where
            nothing is truncated.
        """
        if self._measure is None:
            return ()
        exact = [total / self._count for total in self._exact]
        pairs = zip(exact, self._measure(mean), strict=True)
        ratios = [((true - found).norm() / true.norm()).nan_to_num(0.0) for true, found in pairs]
        return tuple(numbers(ratios))
