"""Which methods a comparison runs, and with which settings."""

from collections.abc import Sequence

from coldlens.checks import at_least, several
from coldlens.directions import (
    ICV,
    METHODS,
    ColdFD,
    ColdJVP,
    ColdKernel,
    DiffMean,
    FineTune,
    Method,
    Probe,
    Random,
    RepE,
)
from coldlens.errors import ArgumentError
from coldlens.examples.example import ExampleSet
from coldlens.losses import Loss

DEFAULTS: tuple[Method, ...] = (
    DiffMean(),
    RepE(),
    RepE(center=False),
    ICV(),
    Probe(),
    ColdKernel(),
    ColdKernel(positions="answer"),
    ColdKernel(positions="all"),
    ColdKernel(kernel="linear"),
    ColdFD(),
    ColdJVP(),
    FineTune(),
    Random(),
)
"""What `compare_directions` runs unless told otherwise."""


def choose_methods(
    methods: Sequence[str | Method] | None,
    examples: ExampleSet,
    loss: Loss,
    seed: int,
) -> tuple[dict[str, Method], dict[str, str]]:
    """Turns a choice of methods into labelled instances with loss and seed filled in.

    Args:
        methods: Names, instances, or None for `DEFAULTS`.
        examples: The examples; with positive-only data the default methods that need pairs are
            left out.
        loss: The loss of every method that has one and does not name its own.
        seed: The seed of every method given by name, or by default, that has one.

    Returns:
        Methods by label, and by label why a default one was left out.

    Raises:
        ArgumentError: If a name is unknown, a method is named twice, or there is none.
    """
    at_least(0, "seed", seed)
    skipped: dict[str, str] = {}
    chosen: list[Method] = []
    if methods is None:
        for method in DEFAULTS:
            if method.needs_pairs and not examples.paired:
                missing = sum(not example.paired for example in examples)
                reason = f"needs a negative completion; {missing} of {len(examples)} have none"
                skipped[method.label] = reason
            else:
                chosen.append(method.with_seed(seed))
    else:
        several("methods", methods, "names and instances")
        chosen = [_resolve(method, seed) for method in methods]
    if not chosen:
        raise ArgumentError(
            expected="at least one method", found="none", fix="Pass methods=None for all methods"
        )
    labelled: dict[str, Method] = {}
    for method in chosen:
        if method.label in labelled:
            raise ArgumentError(
                expected="each method once",
                found=f"{method.label} twice",
                fix="Give the two different settings",
            )
        labelled[method.label] = method.with_loss(loss)
    return labelled, skipped


def _resolve(method: str | Method, seed: int) -> Method:
    if isinstance(method, Method):
        return method
    if not isinstance(method, str) or method not in METHODS:
        raise ArgumentError(
            expected=f"methods among {', '.join(METHODS)}",
            found=repr(method),
            fix="Give a name, or an instance such as ColdKernel(positions='answer')",
        )
    return METHODS[method]().with_seed(seed)
