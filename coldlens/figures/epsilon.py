"""The step of COLD-FD: error against ε in three precisions, the paper's step and the chosen one."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import pandas as pd
import torch
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture import Needs, collect
from coldlens.directions import ColdFD, ColdJVP
from coldlens.equivalence.setting import Setting
from coldlens.examples.example import ExampleSet
from coldlens.figures.analysis import ModelAnalysis
from coldlens.figures.drawings import epsilon
from coldlens.figures.record import Tables
from coldlens.losses import default_loss
from coldlens.models.double import in_double
from coldlens.models.forward import residuals
from coldlens.models.guards import resolve_layers
from coldlens.models.parameters import exchanged, upstream
from coldlens.plotting.equivalence import PAPER_STEP
from coldlens.steering.parametric import DifferenceSteering, Scheme

DTYPES = (torch.bfloat16, torch.float32, torch.float64)
SCHEMES: tuple[Scheme, ...] = ("forward", "central")


@dataclass(frozen=True)
class Epsilon(ModelAnalysis):
    """Measure the error of finite differences in parameter space against their step.

    Attributes:
        n: Examples of the gradient.
        prompts: How many of their prompts displacements are read at, the shortest ones.
        largest: Decade of the largest ε.
        smallest: Decade of the smallest ε.
        per_decade: Steps a decade.
    """

    prompts: int = 4
    largest: int = 2
    smallest: int = -13
    per_decade: int = 2

    drawing = epsilon.DRAWING
    QUICK: ClassVar = {"n": 3, "prompts": 2, "largest": 0, "smallest": -8, "per_decade": 1}

    def measured(self, model: TransformerBridge, examples: ExampleSet) -> Tables:
        """Returns `errors`, a row a precision, scheme, ε and layer, and the `choices` of ε.

        `errors` has what a literal implementation in one precision would give: parameters, their
        perturbation and the forward are all rounded to it. `choices` has what ColdFD gives with
        the paper's ε and with its own choice. Errors are ‖ColdFD − ColdJVP‖ / ‖ColdJVP‖ at all
        tokens of the prompts, against ColdJVP in float64.
        """
        drawn, layers = self.drawn(examples), resolve_layers(model, None)
        loss = default_loss(drawn)
        ColdJVP(loss).check(model, drawn)
        with in_double(model):
            setting = Setting(model, drawn, layers, (), loss, self.prompts, self.seed, False)
            errors = pd.DataFrame(self._errors(setting))
            choices = list(_choices(model, setting))
        choices += _choices(model, setting)
        return {"errors": errors, "choices": pd.DataFrame(choices)}

    def _errors(self, setting: Setting) -> Iterator[dict[str, object]]:
        steps = [
            10.0 ** (place / self.per_decade)
            for place in range(
                self.per_decade * self.largest, self.per_decade * self.smallest - 1, -1
            )
        ]
        for dtype in DTYPES:
            base = _moved(setting, 0.0, dtype)
            for step in steps:
                plus, minus = (_moved(setting, sign * step, dtype) for sign in (1, -1))
                for scheme, other, width in zip(
                    SCHEMES, (base, minus), (step, 2 * step), strict=True
                ):
                    found = {
                        layer: (plus[layer] - other[layer]).double() / -width for layer in plus
                    }
                    for layer, error in _relative(setting, found).items():
                        yield {
                            "precision": _name(dtype),
                            "scheme": scheme,
                            "epsilon": step,
                            "layer": layer,
                            "error": error,
                        }


def _moved(setting: Setting, step: float, dtype: torch.dtype) -> dict[int, Tensor]:
    """Returns Z_l(x; θ + εg) of a model in a precision, by layer."""
    gradient = setting.gradient.parameter_gradients[setting.loss]
    values = {}
    for name, found in upstream(setting.model, max(setting.layers)).items():
        value = found.tensor.detach().to(dtype)
        if name in gradient:
            value = value + step * gradient[name].to(dtype)
        values[name] = nn.Parameter(value, requires_grad=False)
    with torch.no_grad(), exchanged(setting.model, values):
        return residuals(setting.model, *setting.prompts, setting.layers)[0]


def _choices(model: TransformerBridge, setting: Setting) -> Iterator[dict[str, object]]:
    """Yields what ColdFD gives in the precision that the model has now."""
    needs = Needs(parameter_gradients=frozenset({setting.loss}))
    evidence = collect(model, setting.examples, setting.layers, needs)
    dtype = next(iter(evidence.parameter_gradients[setting.loss].values())).dtype
    for scheme in SCHEMES:
        for rule, method in (
            ("paper", ColdFD(setting.loss, PAPER_STEP, scheme)),
            ("auto", ColdFD(setting.loss, "auto", scheme)),
        ):
            steering = method.solve(model, evidence)
            assert isinstance(steering, DifferenceSteering)
            found = steering.field(*setting.prompts, setting.layers)
            for layer, error in _relative(setting, found).items():
                yield {
                    "precision": _name(dtype),
                    "scheme": scheme,
                    "rule": rule,
                    "epsilon": steering.step,
                    "computed_in": "float64" if steering.double else _name(dtype),
                    "layer": layer,
                    "error": error,
                }


def _relative(setting: Setting, found: dict[int, Tensor]) -> dict[int, float]:
    mask = setting.prompts[1]
    return {
        layer: ((found[layer][mask].double() - exact).norm() / exact.norm()).item()
        for layer, exact in setting.displacements.items()
    }


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
