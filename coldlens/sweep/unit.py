"""A unit of work: one draw of examples of one behaviour, under one loss, for all methods."""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportGeneralTypeIssues=false, reportIndexIssue=false

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture import Evidence, Needs, collect
from coldlens.directions import Method
from coldlens.errors import ExampleError, NumericsError
from coldlens.examples.example import ExampleSet
from coldlens.examples.tokens import encode
from coldlens.sweep.bank import CELL, Bank, Grid, Strengths
from coldlens.sweep.methods import BASE, Compared, InContext

NO_SETTING = "none"
"""The setting of the unsteered model."""

KEYS = ["behaviour", "setting", "method", "size", "seed"]
"""What names a unit and a method."""

_ALWAYS = Needs(activations=frozenset({("positive", "last_prompt")}))


@dataclass(frozen=True)
class Unit:
    """What shares one pass over the examples.

    Attributes:
        behaviour: Name of the behaviour.
        setting: Name of the loss setting.
        size: N.
        seed: Seed of the draw, and of the methods given by name.
        train: The examples drawn; None for the unsteered model.
        methods: What is compared, by label; None for the unsteered model.
    """

    behaviour: str
    setting: str
    size: int
    seed: int
    train: ExampleSet | None
    methods: Mapping[str, Compared | None]

    @staticmethod
    def base(behaviour: str) -> "Unit":
        """Returns the unit of the unsteered model.

        Args:
            behaviour: Name of the behaviour.

        Returns:
            The unit.
        """
        return Unit(behaviour, NO_SETTING, 0, 0, None, {BASE: None})

    def key(self, label: str) -> tuple[str, str, str, int, int]:
        """Names a method of the unit.

        Args:
            label: Label of the method.

        Returns:
            Behaviour, setting, method, size and seed.
        """
        return self.behaviour, self.setting, label, self.size, self.seed


class Runner:
    """Runs a unit: what its methods share is computed once, and when it is first needed."""

    def __init__(
        self, model: TransformerBridge, unit: Unit, sets: Mapping[str, ExampleSet], grid: Grid
    ) -> None:
        """Prepares a unit.

        Args:
            model: The model.
            unit: The unit.
            sets: The questions by split.
            grid: What to measure.
        """
        self.model, self.unit, self.sets, self.grid = model, unit, sets, grid

    def table(self, label: str) -> pd.DataFrame:
        """Measures a method in every cell.

        Args:
            label: Label of the method.

        Returns:
            A row a question and cell, in the order of `KEYS` and `CELL`.
        """
        method = self.unit.methods[label]
        if method is None:
            found = self.bank.unsteered()
        elif isinstance(method, InContext):
            found = self._in_context(method)
        else:
            found = self._steered(method)
        keys = dict(zip(KEYS, self.unit.key(label), strict=True))
        found = found.assign(**keys, layer=found["layer"].astype("Int64"))
        if "note" not in found:
            found["note"] = ""
        found["note"] = found["note"].fillna("")
        rest = [name for name in found if name not in {*KEYS, *CELL, "note"}]
        found = found[[*KEYS, *CELL, *rest, "note"]]
        return found.sort_values(CELL, ignore_index=True, kind="stable")

    @cached_property
    def bank(self) -> Bank:
        """The questions."""
        return Bank(self.model, self.sets, self.grid)

    @cached_property
    def evidence(self) -> Evidence:
        """What one pass over the examples found.

        It gathers the needs of all methods, those finished before included, so that a sweep that
        was interrupted goes on with the same numbers.
        """
        train = self.unit.train
        assert train is not None
        needs = _ALWAYS
        for method in self.unit.methods.values():
            if isinstance(method, Method):
                needs = needs | method.needs(train)
        return collect(self.model, train, self.grid.layers, needs)

    def _in_context(self, method: InContext) -> pd.DataFrame:
        assert self.unit.train is not None
        try:
            prompted = {
                split: encode(self.model, method.prompts(self.model, self.unit.train, questions))
                for split, questions in self.sets.items()
            }
        except ExampleError as error:
            return self.bank.unmeasured([None], f"ExampleError: {error}")
        return self.bank.prompted(prompted)

    def _steered(self, method: Method) -> pd.DataFrame:
        layers = self.grid.layers
        try:
            steering = method.solve(self.model, self.evidence)
            norms = steering.readings().double().norm(dim=-1).mean(1)
        except NumericsError as error:
            return self.bank.unmeasured(layers, f"NumericsError: {error}")
        strengths = self._strengths(norms)
        zero = [layer for layer in layers if layer not in strengths]
        found = [self.bank.steered(steering, strengths)]
        if zero:
            found.append(self.bank.unmeasured(zero, "the displacement is zero"))
        return pd.concat([frame for frame in found if len(frame)], ignore_index=True)

    def _strengths(self, norms: Float[Tensor, " layer"]) -> Strengths:
        """Returns relative and raw etas, for the layers whose displacement is not zero."""
        streams = self.evidence.activations["positive", "last_prompt"]
        sizes = streams.double().norm(dim=-1).mean(1)
        found: Strengths = {}
        for layer, norm, size in zip(self.grid.layers, norms.tolist(), sizes.tolist(), strict=True):
            if norm == 0:
                continue
            if self.grid.scale == "relative":
                found[layer] = [(eta, eta * size / norm) for eta in self.grid.etas]
            else:
                found[layer] = [(eta * norm / size, eta) for eta in self.grid.etas]
        return found
