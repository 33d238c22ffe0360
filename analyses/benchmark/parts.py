"""Fits beside other libraries and plain passes: each part is a set of computations by name."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from analyses.benchmark import literal
from analyses.benchmark.passes import backward, bridge, forward, network
from analyses.benchmark.subject import BATCH, Subject
from analyses.peers.clock import Run, clocked
from coldlens.directions import ColdFD, ColdJVP, DiffMean, Method, RepE
from coldlens.examples.batch import BOTH, Batch
from coldlens.losses import DPO, CrossEntropy, Loss

EPSILON = 1e-5
"""Of a finite difference where it is given: near where rounding and curvature meet here."""

Calls = Mapping[str, Callable[[], Run]]


def vectors(subject: Subject) -> Calls:
    """Directions of all layers from pairs of texts, and plain forward passes of their batches.

    The fits begin with tokenising the texts, here and in the peers; the plain passes do not.

    Args:
        subject: What is measured on.

    Returns:
        The computations by name.
    """
    batches, peers = subject.batches(BOTH), subject.peers
    names = () if peers is None else ("steering-vectors", "repeng")
    return {
        "DiffMean": _fitted(subject, DiffMean()),
        "RepE": _fitted(subject, RepE()),
        "bridge, forward": partial(clocked, partial(forward, bridge(subject), batches)),
        "Hugging Face, forward": partial(clocked, partial(forward, network(subject), batches)),
        **{name: partial(peers.run, name) for name in names if peers is not None},
    }


def fits(subject: Subject) -> Calls:
    """Gradient methods on positive answers, and forward and backward passes of their batches.

    Args:
        subject: What is measured on.

    Returns:
        The computations by name.
    """
    loss = CrossEntropy()
    one_by_one = partial(literal.gradient, subject.network, subject.encoded)
    return {
        "ColdFD": _fitted(subject, ColdFD(loss)),
        "ColdFD, ε given": _fitted(subject, ColdFD(loss, epsilon=EPSILON)),
        "ColdJVP": _fitted(subject, ColdJVP(loss)),
        **_backwards(subject, loss, subject.batches(("positive",))),
        "one by one": partial(clocked, one_by_one),
    }


def paired_fits(subject: Subject) -> Calls:
    """Gradient methods with DPO, and forward and backward passes of both sides.

    Args:
        subject: What is measured on.

    Returns:
        The computations by name.
    """
    loss = DPO()
    return {
        "ColdFD, DPO": _fitted(subject, ColdFD(loss)),
        "ColdJVP, DPO": _fitted(subject, ColdJVP(loss)),
        **_backwards(subject, loss, subject.batches(BOTH)),
    }


def _fitted(subject: Subject, method: Method) -> Callable[[], Run]:
    fit = partial(method.fit, subject.model, subject.examples, batch_size=BATCH)
    return partial(clocked, fit)


def _backwards(subject: Subject, loss: Loss, batches: Sequence[Batch]) -> Calls:
    sides = {
        "bridge": (bridge(subject), subject.model),
        "Hugging Face": (network(subject), subject.network),
    }
    return {
        f"{name}, forward and backward": partial(clocked, partial(backward, *side, loss, batches))
        for name, side in sides.items()
    }
