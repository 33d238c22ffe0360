"""E4 and E7: finite differences and real gradient steps tend to the exact displacement."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm.auto import tqdm

from coldlens.directions import ColdFD, FineTune
from coldlens.equivalence.rows import Case, Check, Row
from coldlens.equivalence.setting import Setting
from coldlens.equivalence.slopes import Fit, fit_slope
from coldlens.models.forward import residuals
from coldlens.models.parameters import exchanged, upstream
from coldlens.steering.parametric import Scheme

LIMITS: dict[Scheme, Check] = {
    "forward": Check("E4", "ColdFD(forward) tends to ColdJVP, error ∝ ε"),
    "central": Check("E4", "ColdFD(central) tends to ColdJVP, error ∝ ε²"),
}
STEP = Check("E7", "a real step: Z(θ − ηg) − Z(θ) = η ColdJVP + O(η²)")
ORDERS: dict[Scheme, int] = {"forward": 1, "central": 2}
LARGEST, SMALLEST, PER_DECADE = 0, -12, 2
"""The grid: steps that move the residual stream by 10^LARGEST to 10^SMALLEST of its norm."""
NOISE = 1e-10
"""Relative moves below this are read as rounding noise in float64: there the truncation error is
some NOISE of the displacement, and the noise u / NOISE of it, a hundred times more or above."""
LOWER = (torch.float32, torch.bfloat16)

Errors = Float[Tensor, "step layer"]


@dataclass(frozen=True)
class Curves:
    """Relative errors by step.

    Attributes:
        steps: ε, descending.
        errors: ‖difference − ColdJVP‖ / ‖ColdJVP‖ in float64, by scheme.
        floors: The part of it that is rounding.
    """

    steps: Float[Tensor, " step"]
    errors: dict[Scheme, Errors]
    floors: dict[Scheme, Errors]

    def shares(
        self, scheme: Scheme, layer: int
    ) -> tuple[Float[Tensor, " step"], Float[Tensor, " step"]]:
        """Returns the shares of an error that are its next term and rounding.

        The error of the forward difference is ½εZ″ + ε²Z‴/6 + …, that of the central one
        ε²Z‴/6 + ε⁴Z⁗′/120 + …: so the next term of the first *is* the second, and its share q is
        measured. The next term of the second is two orders further on: about q² where the terms
        fall like a geometric series, and below q unless they fall much more slowly.

        Args:
            scheme: The scheme.
            layer: The place of the layer.
        """
        forward, central = (self.errors[name][:, layer] for name in ORDERS)
        return central / forward, self.floors[scheme][:, layer] / self.errors[scheme][:, layer]


def step_rows(setting: Setting) -> Iterator[Row | pd.DataFrame]:
    """Checks how fast differences and steps approach the exact displacement as they shrink.

    The slope is fitted, and its tolerance derived, by `fit_slope`; the share of rounding in an
    error is that at the smallest steps, where it is all of it, growing like 1/ε.

    Args:
        setting: The setting.

    Yields:
        For each layer the claims and counter-cases, and tables of the curves. The counter-cases
        are each scheme held to the slope of the other, and the remainder against half the
        displacement, which is of first order.
    """
    curves = _curves(setting)
    lowest = {torch.float64: curves.errors}
    for dtype in LOWER:
        lowest[dtype] = _rounded(setting, curves.steps, dtype)
    for scheme, order in ORDERS.items():
        for place, layer in enumerate(setting.layers):
            errors = curves.errors[scheme][:, place]
            fit = fit_slope(curves.steps, errors, *curves.shares(scheme, place))
            sides: tuple[tuple[Case, int, str], ...] = (
                ("claim", order, _floors(lowest, scheme, place)),
                ("counter", 3 - order, f"held to slope {3 - order}"),
            )
            for case, wanted, detail in sides:
                yield LIMITS[scheme].exponent(layer, fit.slope, wanted, fit.tolerance, detail, case)
            for dtype, found in lowest.items():
                own = fit if dtype == torch.float64 else None
                yield _curve("E4", layer, dtype, scheme, curves.steps, found[scheme][:, place], own)

    whole, half = _remainders(setting, curves.steps)
    for place, layer in enumerate(setting.layers):
        shares = curves.shares("forward", place)
        remainders: tuple[tuple[Tensor, Case, str], ...] = (
            (whole, "claim", "slope of the remainder is 2"),
            (half, "counter", "remainder against half the displacement held to slope 2"),
        )
        for remainder, case, detail in remainders:
            fit = fit_slope(curves.steps, remainder[:, place], *shares)
            yield STEP.exponent(layer, fit.slope, 2, fit.tolerance, detail, case)
            name = "remainder" if case == "claim" else "against half"
            yield _curve("E7", layer, torch.float64, name, curves.steps, remainder[:, place], fit)


def _curves(setting: Setting) -> Curves:
    """Returns the errors of the package's own finite differences at every step of the grid."""
    tokens, mask = setting.prompts
    exact = setting.displacements
    base = residuals(setting.model, tokens, mask, setting.layers)[0]
    sizes = [base[layer][mask].norm() / exact[layer].norm() for layer in setting.layers]
    count = PER_DECADE * (LARGEST - SMALLEST) + 1
    moves = torch.logspace(LARGEST, SMALLEST, count, dtype=torch.float64)
    steps = moves * torch.stack(sizes).median().cpu()
    errors: dict[Scheme, Errors] = {}
    floors: dict[Scheme, Errors] = {}
    for scheme in ORDERS:
        rows = []
        for step in tqdm(steps.tolist(), desc=f"E4 {scheme}", disable=not setting.progress):
            method = ColdFD(setting.loss, epsilon=step, scheme=scheme)
            steering = method.solve(setting.model, setting.gradient)
            found = steering.field(tokens, mask, setting.layers)
            rows.append(_errors(setting, found))
        errors[scheme] = torch.stack(rows)
        noise = (errors[scheme] * steps.unsqueeze(1))[moves <= NOISE].amax(0)
        floors[scheme] = noise / steps.unsqueeze(1)
    return Curves(steps, errors, floors)


def _errors(setting: Setting, found: dict[int, Tensor]) -> Float[Tensor, " layer"]:
    mask, errors = setting.prompts[1], []
    for layer, exact in setting.displacements.items():
        errors.append((found[layer].double()[mask] - exact).norm() / exact.norm())
    return torch.stack(errors).cpu()


def _rounded(
    setting: Setting, steps: Float[Tensor, " step"], dtype: torch.dtype
) -> dict[Scheme, Errors]:
    """Returns the errors with parameters, model and residual stream in a lower precision."""
    g = setting.gradient.parameter_gradients[setting.loss]
    known = {
        name: found.tensor.detach()
        for name, found in upstream(setting.model, max(setting.layers)).items()
    }

    def at(step: float) -> dict[int, Tensor]:
        values = {
            name: value + step * g[name] if name in g else value for name, value in known.items()
        }
        rounded = {
            name: nn.Parameter(value.to(dtype), requires_grad=False)
            for name, value in values.items()
        }
        with torch.no_grad(), exchanged(setting.model, rounded):
            return residuals(setting.model, *setting.prompts, setting.layers)[0]

    base = at(0.0)
    forward: list[Tensor] = []
    central: list[Tensor] = []
    for step in tqdm(steps.tolist(), desc=f"E4 {dtype}", disable=not setting.progress):
        plus, minus = at(step), at(-step)
        for rows, other, width in ((forward, base, step), (central, minus, 2 * step)):
            found = {layer: (plus[layer] - other[layer]).double() / -width for layer in plus}
            rows.append(_errors(setting, found))
    return {"forward": torch.stack(forward), "central": torch.stack(central)}


def _remainders(setting: Setting, steps: Float[Tensor, " step"]) -> tuple[Errors, Errors]:
    """Returns what is left of real steps without the displacement, and without half of it.

    Both are relative to the norm of ColdJVP, so that they are ∝ η² and ∝ η.
    """
    tokens, mask = setting.prompts
    whole, half = [], []
    for step in tqdm(steps.tolist(), desc="E7", disable=not setting.progress):
        steering = FineTune(1, step, setting.loss).solve(setting.model, setting.gradient)
        moved = steering.field(tokens, mask, setting.layers)
        for part, rows in ((1.0, whole), (0.5, half)):
            left = [
                (moved[layer][mask] - part * step * exact).norm() / exact.norm()
                for layer, exact in setting.displacements.items()
            ]
            rows.append(torch.stack(left).cpu())
    return torch.stack(whole), torch.stack(half)


def _floors(found: dict[torch.dtype, dict[Scheme, Errors]], scheme: Scheme, place: int) -> str:
    lowest = [
        f"{_name(dtype)} {errors[scheme][:, place].min().item():.0e}"
        for dtype, errors in found.items()
    ]
    return "lowest error " + ", ".join(lowest)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _curve(
    check: str,
    layer: int,
    dtype: torch.dtype,
    name: str,
    steps: Float[Tensor, " step"],
    errors: Float[Tensor, " step"],
    fit: Fit | None,
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "check": check,
            "layer": layer,
            "dtype": _name(dtype),
            "scheme": name,
            "step": steps.numpy(),
            "error": errors.numpy(),
            "fitted": False if fit is None else fit.chosen.numpy(),
            "slope": float("nan") if fit is None else fit.slope,
        }
    )
