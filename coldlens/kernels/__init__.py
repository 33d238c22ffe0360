"""The empirical neural tangent kernel of the residual stream, exactly."""

from coldlens.kernels.ntk import EmpiricalNTK

__all__ = ["EmpiricalNTK"]
