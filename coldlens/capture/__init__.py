"""One pass over the examples: activations, activation gradients and parameter gradients.

Every method says what it `Needs`; `collect` gathers the union in a single streaming pass, in
which each batch is run forward once and backward once per loss, for all layers together. What is
kept per example is already reduced over positions, so memory does not grow with their length.
"""

from coldlens.capture.collect import collect
from coldlens.capture.needs import Evidence, Needs

__all__ = ["Evidence", "Needs", "collect"]
