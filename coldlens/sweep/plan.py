"""`Plan`: everything that a sweep will do, checked before it does it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from transformer_lens.model_bridge import TransformerBridge

from coldlens.directions import Method
from coldlens.errors import ArgumentError
from coldlens.evaluation.measuring import sides_read
from coldlens.evaluation.questions import require_read_back
from coldlens.examples.example import ExampleSet
from coldlens.examples.tokens import encode
from coldlens.losses import Loss, loss_name
from coldlens.models.guards import numerics
from coldlens.models.load import model_id
from coldlens.models.parameters import fingerprint
from coldlens.steering.provenance import PACKAGES
from coldlens.sweep.bank import CAPABILITY, Grid, metrics_of
from coldlens.sweep.methods import Compared, seeded, settings_of
from coldlens.sweep.splits import Splits
from coldlens.sweep.storage import cell_name
from coldlens.sweep.unit import Unit
from coldlens.words import counted

logger = logging.getLogger(__name__)

Sets = dict[str, ExampleSet]
"""Questions by split."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What a sweep will do.

    Attributes:
        units: The units of work.
        sets: The questions by behaviour and split.
        grid: What is measured of each method.
        about: The same as JSON can hold it, with the hashes of data and model.
    """

    units: list[Unit]
    sets: dict[str, Sets]
    grid: Grid
    about: dict[str, Any]

    def cost(self, left: list[Unit]) -> str:
        """Says what the units that are left will cost.

        Args:
            left: The units.

        Returns:
            A sentence.
        """
        fits = [
            unit.behaviour
            for unit in left
            for method in unit.methods.values()
            if isinstance(method, Method)
        ]
        cells = len(self.grid.layers) * len(self.grid.etas)
        asked = sum(len(asked) for fit in fits for asked in self.sets[fit].values())
        return (
            f"{len(left)} of {counted(len(self.units), 'unit')} to run: "
            f"{counted(len(fits), 'fit')}, {counted(len(fits) * cells, 'cell')}, about "
            f"{counted(asked * cells, 'forward')} of a question from the steered layer on"
        )


def make_plan(
    model: TransformerBridge,
    data: Mapping[str, Splits],
    methods: list[str | Compared],
    grid: Grid,
    *,
    losses: Mapping[str, Loss] | None,
    sizes: list[int],
    seeds: list[int],
    capability: ExampleSet | None,
) -> Plan:
    """Plans a sweep, and checks methods, examples and questions.

    Args:
        model: The model.
        data: The splits by behaviour.
        methods: Names and instances.
        grid: What to measure.
        losses: The losses by setting, or None.
        sizes: Numbers of training examples.
        seeds: Seeds of the draws.
        capability: Unrelated questions, or None.

    Returns:
        The plan.

    Raises:
        ArgumentError: If there is no behaviour, or one has no splits.
    """
    if not data:
        raise ArgumentError(
            expected="at least one behaviour", found="none", fix='Pass ["demo/sycophancy"]'
        )
    for behaviour, splits in data.items():
        if not isinstance(splits, Splits):
            raise ArgumentError(
                expected=f"the Splits of {behaviour!r}",
                found=type(splits).__name__,
                fix="Pass Splits(train, validation, test), or a list of names",
            )
        for shared in splits.shared():
            logger.warning("%s: %s", behaviour, shared)
    sets = {behaviour: _sets(splits, capability) for behaviour, splits in data.items()}
    for found in sets.values():
        for split, questions in found.items():
            encoded = encode(model, questions)
            sides = sides_read(metrics_of(split, grid.metrics, questions, encoded))
            require_read_back(grid.positions, questions.name, encoded, sides)
    named = frozenset(method for method in methods if isinstance(method, str))
    units = [Unit.base(behaviour) for behaviour in data]
    for behaviour, splits in data.items():
        settings = settings_of(methods, losses, splits.train, grid.scale)
        units += _units(model, behaviour, splits, settings, named, sizes, seeds)
    about = {
        "model_id": model_id(model),
        "model_fingerprint": fingerprint(model),
        "numerics": numerics(model),
        "layers": list(grid.layers),
        "etas": list(grid.etas),
        "scale": grid.scale,
        "positions": str(grid.positions),
        "sizes": sizes,
        "seeds": seeds,
        "methods": {
            f"{unit.setting}: {label}": repr(method)
            for unit in units
            if unit.seed == min(seeds)
            for label, method in unit.methods.items()
            if method is not None
        },
        "losses": losses and {setting: loss_name(loss) for setting, loss in losses.items()},
        "metrics": grid.metrics and [repr(metric) for metric in grid.metrics],
        "batch_size": grid.batch_size,
        "data": {
            behaviour: {"train": splits.train.hash()}
            | {split: questions.hash() for split, questions in sets[behaviour].items()}
            for behaviour, splits in data.items()
        },
        "clusters": {
            behaviour: splits.test.clusters
            for behaviour, splits in data.items()
            if splits.test[0].clusters
        },
        "versions": {name: version(name) for name in PACKAGES},
        "cells": [cell_name(unit.key(label)) for unit in units for label in unit.methods],
    }
    return Plan(units, sets, grid, about)


def _units(
    model: TransformerBridge,
    behaviour: str,
    splits: Splits,
    settings: Mapping[str, Mapping[str, Compared]],
    named: frozenset[str],
    sizes: list[int],
    seeds: list[int],
) -> list[Unit]:
    encode(model, splits.train)
    units = []
    for size in sizes:
        for seed in seeds:
            train = splits.drawn(size, seed)
            for setting, found in settings.items():
                ready = seeded(found, seed, named)
                units.append(Unit(behaviour, setting, size, seed, train, ready))
                for method in found.values():
                    if isinstance(method, Method):
                        method.check(model, train)
    return units


def _sets(splits: Splits, capability: ExampleSet | None) -> Sets:
    found = {"validation": splits.validation, "test": splits.test}
    if capability is not None:
        half = (len(capability) + 1) // 2
        if half == len(capability):
            raise ArgumentError(
                expected="two capability questions or more: one half to choose by, one to report",
                found=f"{len(capability)}",
                fix="Give more, or capability=None",
            )
        found[f"{CAPABILITY}validation"] = capability[:half]
        found[f"{CAPABILITY}test"] = capability[half:]
    return found
