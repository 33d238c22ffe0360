"""Steered answers to new questions: one layer at a time, and a sweep over layers and etas."""

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from analyses.benchmark import literal
from analyses.benchmark.parts import EPSILON, Calls
from analyses.benchmark.passes import choices, probability
from analyses.benchmark.subject import BATCH, Subject
from analyses.peers.clock import clocked
from coldlens.directions import ColdFD, ColdJVP, DiffMean
from coldlens.evaluation import evaluate
from coldlens.examples.example import ExampleSet
from coldlens.losses import CrossEntropy
from coldlens.steering.steering import Steering
from coldlens.sweep import Splits, SweepResult, sweep

ETAS = (0.001, 0.003, 0.01, 0.03)


def answers(subject: Subject, layers: Sequence[int]) -> Calls:
    """Choices among two answers to new prompts, unsteered and steered at one layer.

    Args:
        subject: What is measured on.
        layers: The layers; `evaluate`, which reads the unsteered answers too, in the middle.

    Returns:
        The computations by name, see `at`.
    """
    fitted = {
        type(method).__name__: method.fit(subject.model, subject.examples, batch_size=BATCH)
        for method in (ColdFD(CrossEntropy()), ColdJVP(CrossEntropy()), DiffMean())
    }
    middle = layers[len(layers) // 2]
    asked = partial(
        evaluate, subject.model, subject.questions, metrics=["choice"], batch_size=BATCH
    )
    steered = partial(asked, fitted["ColdFD"], middle, ETAS[0])
    return {
        "unsteered": partial(clocked, partial(choices, subject)),
        **{
            at(name, layer): partial(clocked, partial(_steered_choices, subject, steering, layer))
            for layer in layers
            for name, steering in fitted.items()
        },
        "evaluate": partial(clocked, asked),
        at("evaluate ColdFD", middle): partial(clocked, steered),
    }


def at(name: str, layer: int) -> str:
    """Names what is steered at a layer.

    Args:
        name: The computation.
        layer: The layer.

    Returns:
        Its name in the tables.
    """
    return f"{name} @ layer {layer}"


def grid(subject: Subject) -> Calls:
    """A sweep of COLD-FD over all layers and four etas, and single cells of it.

    Args:
        subject: What is measured on.

    Returns:
        The computations by name.
    """
    middle = subject.size.layers // 2
    return {
        "sweep": partial(clocked, partial(swept, subject, None, ETAS)),
        "one cell": partial(clocked, partial(swept, subject, (middle,), ETAS[:1])),
        "one cell, one by one": partial(
            clocked, partial(literal_cells, subject, (middle,), ETAS[:1])
        ),
        "all cells, one gradient": partial(
            clocked, partial(literal_cells, subject, range(subject.size.layers), ETAS)
        ),
    }


def swept(subject: Subject, layers: Sequence[int] | None, etas: Sequence[float]) -> SweepResult:
    """Fits COLD-FD and measures the questions, half of them as validation and half as test.

    Args:
        subject: What is measured on.
        layers: The layers; None for all.
        etas: The step sizes.

    Returns:
        The result.
    """
    half = len(subject.questions) // 2
    parts = (subject.questions[:half], subject.questions[half:])
    validation, test = (
        ExampleSet(tuple(part), name="random", policy=subject.questions.policy) for part in parts
    )
    return sweep(
        subject.model,
        {"random": Splits(subject.examples, validation, test)},
        [ColdFD(CrossEntropy())],
        layers,
        etas,
        (len(subject.examples),),
        scale="raw",
        metrics=["choice"],
        batch_size=BATCH,
    )


def literal_cells(
    subject: Subject, layers: Sequence[int], etas: Sequence[float]
) -> Float[Tensor, "cell question"]:
    """Fits COLD-FD once and measures the questions in every cell, as its formulas say.

    Args:
        subject: What is measured on.
        layers: The layers.
        etas: The step sizes.

    Returns:
        p⁺ / (p⁺ + p⁻) of the questions, in the order of `subject.asked`.
    """
    g = literal.gradient(subject.network, subject.encoded)
    cells = [
        literal.steered(subject.network, g, subject.prompts(), layer, eta, EPSILON)
        for layer in layers
        for eta in etas
    ]
    return torch.stack([probability(subject, logits) for logits in cells])


def _steered_choices(
    subject: Subject, steering: Steering, layer: int
) -> Float[Tensor, " question"]:
    with steering.apply(subject.model, layer=layer, eta=ETAS[0]):
        return choices(subject)
