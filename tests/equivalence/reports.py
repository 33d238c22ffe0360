"""Models and their reports, each made once."""

from functools import cache

import zoo
from exact.cases import data_of

from coldlens.equivalence.report import Equivalences
from coldlens.equivalence.verify import verify_equivalences
from coldlens.losses import DPO
from coldlens.models.load import load_model


@cache
def single(name: str):
    """Returns a float32 model, as users have it."""
    return load_model("demo") if name == "demo" else zoo.bridge(name)


@cache
def verified(name: str, data: str = "paired") -> Equivalences:
    """Returns the report of a model; the bundled one is read at its first and last layer."""
    layers, loss = (0, -1) if name == "demo" else None, DPO() if data == "paired" else None
    return verify_equivalences(single(name), data_of(name, data), layers, loss=loss)
