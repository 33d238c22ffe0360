"""The tolerances of the comparisons, all relative to the norm of the reference."""

EXACT = 1e-10
"""float64 all the way: two orders of summation differ by some 1e-14 here."""

SINGLE = 1e-5
"""float32 against float64 with the same weights: about 100 roundings of 6e-8."""

FORWARD, CENTRAL = 3e-3, 3e-4
"""Finite differences with the automatic step in float32: twice to ten times √u and u^⅔, where
rounding and truncation balance, u = 6e-8 (that is 2.4e-4 and 1.5e-5). Where that is not reached
the step goes on to float64."""

NEAR_BEST = 2.5
"""How far the automatic step may be from the best step of a grid of powers of two."""

PROBE = 1e-10
"""scikit-learn's Newton solver, in the span of the samples, to a gradient of 1e-12 a sample."""
