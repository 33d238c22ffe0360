"""The step of a finite difference in parameter space, chosen by its effect on the output."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.errors import NumericsError
from coldlens.examples.batch import pad, pilot
from coldlens.examples.tokens import Ids
from coldlens.gradients import Direction, moved_residuals, norm
from coldlens.models.guards import working_dtype
from coldlens.models.offload import device_of
from coldlens.models.parameters import parameters
from coldlens.steering.parametric import Scheme

PILOT_STEP = 1e-5
"""First guess of ε‖g‖/‖θ‖."""
DROWNED = 100
"""Relative moves below so many units of round-off say little; the pilot then goes further."""
FACTOR = 4.0
"""Ratio of neighbouring steps on the ladder."""
LONGEST = 16
TURNED = 4.0
"""The ladder ends when two neighbours disagree this much more than the best two did."""
RESOLVED: dict[Scheme, float] = {"forward": 2e-3, "central": 2e-4}
"""The error, relative, above which a difference needs float64: about ten times √u and u^⅔, the
errors where no layer is more curved and no coordinate larger than the others."""
ORDER: dict[Scheme, int] = {"forward": 1, "central": 2}
"""The power of ε that the truncation error goes with."""


@dataclass(frozen=True)
class Step:
    """The step of a finite difference.

    Attributes:
        epsilon: ε.
        double: Whether the forwards must run in float64 for the difference to be resolved.
    """

    epsilon: float
    double: bool = False


def automatic_step(
    model: TransformerBridge,
    layers: tuple[int, ...],
    gradient: Direction,
    prompts: Sequence[Ids],
    scheme: Scheme,
) -> Step:
    """Chooses ε where rounding and truncation errors meet, by looking at the residual stream.

    An output-relative pilot tells the step at which the residual stream moves by √u (forward) or
    u^⅓ (central) of its norm, u the unit round-off: where the two errors, about u/ρ and ρ or ρ²
    for a relative move ρ, would meet if nothing were more curved than the median token. From four
    to sixteen times that step a ladder goes down, over powers of four of the pilot's own step, so
    that the pilot may serve as a rung. Neighbouring estimates differ by the truncation error k εᵖ
    at first and by rounding noise n/ε in the end; what they differ by around the two that agree
    best gives k and n, so the best ε and its error, whatever the curvature and the precision of
    the model.

    Where this error is too large, because a few coordinates of the residual stream are so long
    that their rounding drowns the others' motion, the forwards must run in float64: its best ε
    follows, as n goes with the unit round-off.

    Args:
        model: The model.
        layers: The layers.
        gradient: g by parameter name.
        prompts: Token ids of the prompts; `pilot` says which are used.
        scheme: The finite-difference scheme.

    Returns:
        The step.

    Raises:
        NumericsError: If the gradient is zero, or does not move the residual stream.
    """
    size = norm(gradient)
    if size == 0:
        raise NumericsError(
            expected="a gradient that is not zero",
            found="norm 0",
            fix="Check that positive and negative completions differ",
        )
    known = parameters(model)
    first = PILOT_STEP * norm({name: known[name].tensor.detach() for name in gradient})
    device = device_of(model.original_model)
    tokens, mask = pad(pilot(prompts), device=device)

    def at(step: float) -> list[Tensor]:
        moved = moved_residuals(model, gradient, step, tokens, mask, layers)
        return list(torch.stack([moved[layer] for layer in layers])[:, mask])

    unit = torch.finfo(working_dtype(model)).eps / 2
    epsilon, error = _search(at, scheme, first / size, unit)
    finer = torch.finfo(torch.float64).eps / 2
    if error <= RESOLVED[scheme] or unit == finer:
        return Step(epsilon)
    return Step(epsilon * (finer / unit) ** (1 / (ORDER[scheme] + 1)), double=True)


def _search(
    at: Callable[[float], list[Tensor]], scheme: Scheme, epsilon: float, unit: float
) -> tuple[float, float]:
    """Goes down the ladder.

    Args:
        at: From a step to the residual stream of each layer.
        scheme: The finite-difference scheme.
        epsilon: A first guess.
        unit: The unit round-off.

    Returns:
        ε, and the relative error to expect of it, a mean over layers.

    Raises:
        NumericsError: If estimates are not finite.
    """
    base, first = at(0.0), at(epsilon)
    ratio = _relative_move(first, base)
    if ratio < DROWNED * unit:
        epsilon *= FACTOR**3
        first = at(epsilon)
        ratio = _relative_move(first, base)
    if not 0 < ratio < math.inf:
        raise NumericsError(
            expected="a gradient that moves the residual stream",
            found=f"a relative move of {ratio} at epsilon = {epsilon:.3g}",
            fix="Give epsilon as a number, or use ColdJVP",
        )

    def slope(rung: int) -> list[Tensor]:
        step = epsilon * FACTOR**rung
        above = at(step) if rung else first
        if scheme == "central":
            pairs = zip(above, at(-step), strict=True)
            return [(up - down) / (2 * step) for up, down in pairs]
        return [(up - here) / step for up, here in zip(above, base, strict=True)]

    target = FACTOR**2 * unit ** (1 / (ORDER[scheme] + 1))
    top = math.floor(math.log(target / ratio, FACTOR))
    gaps: list[float] = []
    above = slope(top)
    while len(gaps) < LONGEST and not (gaps and not gaps[-1] < TURNED * min(gaps)):
        below = slope(top - len(gaps) - 1)
        gaps.append(_disagreement(above, below))
        above = below
    if not math.isfinite(gaps[-1]):
        gaps.pop()
    if not gaps:
        raise NumericsError(
            expected="finite differences of the residual stream",
            found=f"inf or nan at epsilon = {epsilon * FACTOR**top:.3g}",
            fix="Give epsilon as a number, or use ColdJVP",
        )
    return _best(epsilon * FACTOR**top, gaps, ORDER[scheme])


def _best(epsilon: float, gaps: list[float], order: int) -> tuple[float, float]:
    """Returns the best step and its error √((k εᵖ)² + (n/ε)²), from a ladder.

    Args:
        epsilon: The ladder's first step.
        gaps: What the estimates at each step and the next one differ by.
        order: p.

    Returns:
        A step between the two that agree best, and the error to expect of it.
    """
    steps = [epsilon / FACTOR**place for place in range(len(gaps))]
    # Squared, truncation and noise of a pair add up to k² · bent + n² · loud, as if rounded apart:
    # that two forward estimates share their base makes n an eighth less.
    bent = [(step**order - (step / FACTOR) ** order) ** 2 for step in steps]
    loud = [(1 + FACTOR**2) / step**2 for step in steps]
    place = gaps.index(min(gaps))
    noise = gaps[-1] ** 2 / loud[-1]
    higher = max(place - 1, 0)
    curve = max(gaps[higher] ** 2 - noise * loud[higher], 0.0) / bent[higher]
    top = steps[place]
    best = (noise / (order * curve)) ** (1 / (2 * order + 2)) if curve else top
    best = min(max(best, top / FACTOR), top)
    return best, (curve * best ** (2 * order) + noise / best**2) ** 0.5


def _relative_move(moved: list[Tensor], base: list[Tensor]) -> float:
    ratios = [
        (new - old).norm(dim=-1) / old.norm(dim=-1) for new, old in zip(moved, base, strict=True)
    ]
    return torch.cat(ratios).median().item()


def _disagreement(above: list[Tensor], below: list[Tensor]) -> float:
    pairs = [((a - b).norm(), b.norm()) for a, b in zip(above, below, strict=True)]
    # A layer that does not move at all agrees with itself.
    gaps = [torch.where(gap == 0, gap, gap / size) for gap, size in pairs]
    return torch.stack(gaps).mean().item()
