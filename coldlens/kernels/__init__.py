"""The empirical neural tangent kernel of the residual stream, exactly or from a sketch."""

from coldlens.kernels.ntk import EmpiricalNTK
from coldlens.kernels.sketch import Interval, Sketch

__all__ = ["EmpiricalNTK", "Interval", "Sketch"]
