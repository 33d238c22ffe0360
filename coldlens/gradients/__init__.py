"""Directions in parameter space: how they are kept, and the model moved along one.

A direction has a part for each parameter that moves: a tensor, or for the weight of a linear map
the outer products of what its gradient is made of. What uses a direction does not know which.
"""

from coldlens.gradients.direction import Direction, Part, inner, norm, packed, unpacked
from coldlens.gradients.estimate import Memory, gradient_memory, memory_of
from coldlens.gradients.factored import Factored
from coldlens.gradients.form import Form, plan
from coldlens.gradients.maps import Call, LinearMap, linear_maps, recognised
from coldlens.gradients.motion import moved_residuals, pushforward
from coldlens.gradients.record import factors, recorded
from coldlens.gradients.sums import GradientSum

__all__ = [
    "Call",
    "Direction",
    "Factored",
    "Form",
    "GradientSum",
    "LinearMap",
    "Memory",
    "Part",
    "factors",
    "gradient_memory",
    "inner",
    "linear_maps",
    "memory_of",
    "moved_residuals",
    "norm",
    "packed",
    "plan",
    "pushforward",
    "recognised",
    "recorded",
    "unpacked",
]
