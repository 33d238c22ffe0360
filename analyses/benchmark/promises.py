"""What is compared with what, and what the ratio may be."""

from collections.abc import Iterable
from dataclasses import dataclass

from analyses.benchmark.steered import ETAS, at
from analyses.benchmark.subject import Size


@dataclass(frozen=True)
class Bound:
    """A ratio of two computations of one part, and what it may be at most.

    Attributes:
        part: The part.
        what: The computation.
        against: What it is divided by.
        time: The greatest ratio of times that is promised, or None.
        peak: The same for peak memory.
        times: How often the other computation would have to run.
    """

    part: str
    what: str
    against: str
    time: float | None = None
    peak: float | None = None
    times: int = 1


def promised(size: Size, layers: Iterable[int], tangent: float) -> list[Bound]:
    """Lists what is compared.

    Args:
        size: The sizes of the model.
        layers: The layers at which it was steered.
        tangent: Plain forwards that one dual forward may cost.

    Returns:
        The ratios.
    """
    passes = "forward and backward"
    found = [
        Bound("vectors", "DiffMean", "steering-vectors", 1.0),
        Bound("vectors", "DiffMean", "bridge, forward", 1.1),
        Bound("vectors", "DiffMean", "Hugging Face, forward"),
        Bound("vectors", "RepE", "repeng", 1.0, 1.0),
        *(
            Bound("fits", what, against, limit)
            for against, limit in (
                (f"bridge, {passes}", 1.15),
                (f"Hugging Face, {passes}", None),
                ("one by one", 0.8),
            )
            for what in ("ColdFD", "ColdJVP")
        ),
        Bound("fits", "ColdFD, ε given", f"bridge, {passes}"),
        *(
            Bound("paired fits", what, against, limit)
            for against, limit in ((f"bridge, {passes}", 1.15), (f"Hugging Face, {passes}", None))
            for what in ("ColdFD, DPO", "ColdJVP, DPO")
        ),
    ]
    for layer in layers:
        share = (layer + 1) / size.layers
        limits = {"ColdFD": 1 + 1.15 * share, "ColdJVP": 1 + tangent * share, "DiffMean": 1.05}
        found += [Bound("answers", at(w, layer), "unsteered", most) for w, most in limits.items()]
        found.append(Bound("answers", at("evaluate ColdFD", layer), "evaluate"))
    cells = size.layers * len(ETAS)
    return [
        *found,
        Bound("grid", "sweep", "one cell, one by one", 0.18, times=cells),
        Bound("grid", "sweep", "all cells, one gradient"),
        Bound("grid", "sweep", "one cell", 6.0),
        Bound("grid", "one cell", "one cell, one by one"),
    ]
