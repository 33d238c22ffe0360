"""The step of a finite difference in parameter space, chosen by its effect on the output."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.errors import NumericsError
from coldlens.examples.batch import pad
from coldlens.examples.tokens import Ids
from coldlens.gradients import Direction, moved_residuals, norm
from coldlens.models.guards import working_dtype
from coldlens.models.parameters import parameters
from coldlens.steering.parametric import Scheme

PILOT_PROMPTS = 8
PILOT_STEP = 1e-4
"""First guess of ε‖g‖/‖θ‖."""
FACTOR = 4.0
"""Ratio of neighbouring steps on the ladder."""
LONGEST = 16
TURNED = 4.0
"""The ladder ends when two neighbours disagree this much more than the best two did."""
RESOLVED: dict[Scheme, float] = {"forward": 2e-3, "central": 2e-4}
"""The best two steps agree this well, relative, or the difference needs float64: some eight times
√u and u^⅔, the errors where no layer is more curved and no coordinate larger than the others."""


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

    An output-relative pilot finds the step at which the residual stream moves by √u (forward) or
    u^⅓ (central) of its norm, u the unit round-off: where the two errors, about u/ρ and ρ or ρ²
    for a relative move ρ, would meet if nothing were more curved than the median token. From four
    times that step a ladder goes down by factors of four. Neighbouring estimates differ by the
    truncation error at first and by rounding noise in the end, so the ε between the two that agree
    best is returned, whatever the curvature and the precision of the model.

    Where even these two do not agree, because a few coordinates of the residual stream are so long
    that their rounding drowns the others' motion, the same is done in float64.

    Args:
        model: The model.
        layers: The layers.
        gradient: g by parameter name.
        prompts: Token ids of the prompts; up to eight are used.
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
    moving = [known[name].tensor.detach() for name in gradient]
    pilot = PILOT_STEP * torch.stack([one.norm() for one in moving]).norm().item()
    device = moving[0].device
    tokens, mask = pad(prompts[:PILOT_PROMPTS], device=device)

    def search(dtype: torch.dtype) -> tuple[float, float]:
        def at(step: float) -> list[Tensor]:
            moved = moved_residuals(model, gradient, step, tokens, mask, layers, dtype=dtype)
            return [moved[layer][mask] for layer in layers]

        return _search(at, scheme, pilot / size, torch.finfo(dtype).eps / 2)

    accurate = working_dtype(model)
    epsilon, gap = search(accurate)
    if gap <= RESOLVED[scheme] or accurate == torch.float64:
        return Step(epsilon)
    return Step(search(torch.float64)[0], double=True)


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
        ε, and how much the two estimates beside it disagree.
    """
    base = at(0.0)

    def slope(epsilon: float) -> list[Tensor]:
        if scheme == "central":
            pairs = zip(at(epsilon), at(-epsilon), strict=True)
            return [(up - down) / (2 * epsilon) for up, down in pairs]
        return [(up - here) / epsilon for up, here in zip(at(epsilon), base, strict=True)]

    target = FACTOR * unit ** (1 / 3 if scheme == "central" else 1 / 2)
    epsilon *= target / _relative_move(at(epsilon), base, epsilon)
    best, chosen, above = float("inf"), epsilon, slope(epsilon)
    for _ in range(LONGEST):
        below = slope(epsilon / FACTOR)
        gap = _disagreement(above, below)
        if gap < best:
            best, chosen = gap, epsilon / FACTOR**0.5
        elif not gap < TURNED * best:
            break
        epsilon, above = epsilon / FACTOR, below
    return chosen, best


def _relative_move(moved: list[Tensor], base: list[Tensor], epsilon: float) -> float:
    ratios = [
        (new - old).norm(dim=-1) / old.norm(dim=-1) for new, old in zip(moved, base, strict=True)
    ]
    ratio = torch.cat(ratios).median().item()
    if not ratio > 0:
        raise NumericsError(
            expected="a gradient that moves the residual stream",
            found=f"a relative move of {ratio} at epsilon = {epsilon:.3g}",
            fix="Give epsilon as a number, or use ColdJVP",
        )
    return ratio


def _disagreement(above: list[Tensor], below: list[Tensor]) -> float:
    gaps = [(a - b).norm() / b.norm() for a, b in zip(above, below, strict=True)]
    return torch.stack(gaps).mean().item()
