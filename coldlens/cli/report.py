"""`coldlens report`: everything about one behaviour on one page."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from transformer_lens.model_bridge import TransformerBridge

from coldlens.agreement.agreement import kernel_agreement
from coldlens.agreement.report import KernelAgreement
from coldlens.checks import above_zero, at_least
from coldlens.cli.inputs import Inputs, say
from coldlens.compare.choose import choose_methods
from coldlens.compare.compare import compare_directions
from coldlens.datasets import load_examples
from coldlens.directions import METHODS, Method
from coldlens.equivalence.report import Equivalences
from coldlens.equivalence.verify import verify_equivalences
from coldlens.errors import DataError
from coldlens.examples.example import ExampleSet
from coldlens.losses import default_loss
from coldlens.models.guards import resolve_layers
from coldlens.page import check_page, measure_steering, write
from coldlens.words import counted

_STEERED = ("DiffMean", "ColdKernel", "ColdFD", "Random")
_STEERED_LAYERS = 8
_FEWEST = 10
"""Held-out questions below which steering is not measured."""
_FEWEST_CHECKED = 2
"""Examples below which nothing is checked: their weights could not differ."""


@dataclass(frozen=True)
class Report(Inputs):
    """Compare directions, measure kernel and steering, check, and write it all as one HTML page.

    Attributes:
        layers: 0-based blocks; all by default, steered at eight of them at most.
        out: The page.
        skip: Parts to leave out.
        kernel_n: How many of the examples the kernel is measured on.
        checks_n: How many of the examples the equivalences are checked on, two or more.
        test: How many questions steering is measured on: of the test split, or where a file has
            none, of its rows that were not drawn.
        methods: Methods whose steering is measured; DiffMean, ColdKernel, ColdFD and Random by
            default.
        lengths: Lengths of the steered displacement relative to the residual stream.
        batch_size: Examples a batch: memory and speed, not results.
    """

    layers: tuple[int, ...] | None = None
    out: Path = Path("out/report.html")
    skip: tuple[Literal["kernel", "checks", "steering"], ...] = ()
    kernel_n: int = 10
    checks_n: int = 8
    test: int = 100
    methods: tuple[str, ...] | None = None
    lengths: tuple[float, ...] = (0.1, 0.3, 1.0)
    batch_size: int = 8

    def run(self) -> int:
        """Returns 0 after writing the page, or 1 if a check on it fails."""
        started = time.perf_counter()
        check_page(self.out)
        for name in ("n", "kernel_n", "checks_n", "test"):
            at_least(1, name, getattr(self, name))
        for length in self.lengths:
            above_zero("lengths", length)
        model, examples = self.load()
        depths = resolve_layers(model, self.layers)
        asked = None if "steering" in self.skip else self._held_out(examples)
        methods = self._methods(model, examples)
        checked = self._checked(len(examples))
        say(self._plan(len(examples), asked, len(methods), len(_spaced(depths)), checked))
        comparison = compare_directions(
            model,
            examples,
            layers=depths,
            loss=self.chosen_loss,
            seed=self.seed,
            batch_size=self.batch_size,
            progress=True,
        )
        evaluations = None
        if asked is not None:
            evaluations = measure_steering(
                model,
                examples,
                asked,
                comparison,
                methods,
                self.lengths,
                _spaced(depths),
                progress=True,
            )
        agreement = self._agreement(model, examples, depths)
        checks = self._checks(model, examples, depths) if checked else None
        write(
            self.out,
            comparison=comparison,
            agreement=agreement,
            checks=checks,
            evaluations=evaluations,
            model=model,
        )
        say(_text(checks))
        say(f"Page in {self.out} ({time.perf_counter() - started:.1f} s)")
        return 0 if checks is None or checks.all_hold else 1

    def _held_out(self, drawn: ExampleSet) -> ExampleSet | None:
        """Returns questions that no example asks, or None where there are too few."""
        try:
            found = self.drawn("test", self.test)
        except DataError:
            found = self._not_drawn(drawn)
        if found is not None:
            say(f"steering is measured on {counted(len(found), 'question')} from {found.source}")
        return found

    def _not_drawn(self, drawn: ExampleSet) -> ExampleSet | None:
        whole = load_examples(self.examples, prompt_format=self.prompt_format, folder=self.data)
        asked = {example.prompt for example in drawn}
        rest = tuple(example for example in whole if example.prompt not in asked)
        if len(rest) < _FEWEST:
            say(
                f"steering is left out: {counted(len(rest), 'held-out question')}, "
                f"{_FEWEST} are needed"
            )
            return None
        found = replace(whole, examples=rest, source=f"{whole.source}, rows not drawn")
        return found.sample(min(self.test, len(rest)), self.seed)

    def _checked(self, drawn: int) -> int:
        """Returns how many examples the checks get, or 0 where they are left out."""
        found = min(self.checks_n, drawn)
        if "checks" in self.skip:
            return 0
        if found < _FEWEST_CHECKED:
            say(
                f"checks are left out: {counted(found, 'example')}, {_FEWEST_CHECKED} are needed; "
                "see --n and --checks-n"
            )
            return 0
        return found

    def _methods(self, model: TransformerBridge, examples: ExampleSet) -> dict[str, Method]:
        """Returns the methods to steer with, after checking that they fit."""
        usable = [name for name in _STEERED if examples.paired or not METHODS[name].needs_pairs]
        loss = self.chosen_loss or default_loss(examples)
        labelled, _ = choose_methods(self.methods or usable, examples, loss, self.seed)
        for method in labelled.values():
            method.check(model, examples)
        return labelled

    def _plan(
        self, examples: int, asked: ExampleSet | None, methods: int, layers: int, checked: int
    ) -> str:
        parts = [f"directions of {counted(examples, 'example')}"]
        if asked is not None:
            cells = methods * layers * len(self.lengths)
            parts.append(
                f"{counted(methods, 'method')} fitted and {counted(len(asked), 'question')} asked "
                f"{counted(cells, 'time')} ({counted(methods, 'method')} x "
                f"{counted(layers, 'layer')} x {counted(len(self.lengths), 'length')})"
            )
        if "kernel" not in self.skip:
            parts.append(f"kernel of {counted(min(self.kernel_n, examples), 'example')}")
        if checked:
            parts.append(f"checks on {counted(checked, 'example')} in float64")
        return f"{'; '.join(parts)}. Each part says what it takes before it starts."

    def _agreement(
        self, model: TransformerBridge, examples: ExampleSet, layers: tuple[int, ...]
    ) -> KernelAgreement | None:
        if "kernel" in self.skip:
            return None
        few = examples.sample(min(self.kernel_n, len(examples)), self.seed)
        return kernel_agreement(
            model,
            few,
            layers,
            loss=self.chosen_loss,
            seed=self.seed,
            batch_size=self.batch_size,
            progress=True,
        )

    def _checks(
        self, model: TransformerBridge, examples: ExampleSet, layers: tuple[int, ...]
    ) -> Equivalences:
        return verify_equivalences(
            model,
            examples,
            layers,
            loss=self.chosen_loss,
            n=self.checks_n,
            seed=self.seed,
            progress=True,
        )


def _spaced(layers: tuple[int, ...]) -> tuple[int, ...]:
    return layers[:: -(-len(layers) // _STEERED_LAYERS)]


def _text(checks: Equivalences | None) -> str:
    return "checks were left out" if checks is None else repr(checks).strip("<>")
