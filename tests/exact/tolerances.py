"""The tolerances of the comparisons, all relative to the norm of the reference."""

EXACT = 1e-10
"""float64 all the way (see `exact.islands`): two orders of summation differ by some 1e-14 here."""

ISLANDS = 1e-6
"""float64 weights, but a norm, a rotation or a softmax in float32, with unit round-off 6e-8:
forward mode rounds tangents there, reverse mode cotangents, in two or three places a block."""

SINGLE = 1e-5
"""float32 against float64 with the same weights: about 100 roundings of 6e-8."""

FORWARD, CENTRAL = 3e-3, 3e-4
"""Finite differences with the automatic step in float32: twice to ten times √u and u^⅔, where
rounding and truncation balance, u = 6e-8 (that is 2.4e-4 and 1.5e-5)."""

CENTRAL_GEMMA = 3e-3
"""Gemma scales its embeddings by √d and normalises after each part too: its layers' relative
moves differ by two orders, so that no single step suits all of them."""

TRAINED_FORWARD, TRAINED_CENTRAL = 1e-2, 2e-3
"""The same for the bundled model, whose residual stream is some 800 long where displacements are
35 to 100, and whose attention is sharp. Over 20 prompts of four of its behaviours, the best step
of a grid of powers of two had errors of 5e-3 to 6e-3 (forward) and 7e-4 to 9e-4 (central) at the
worst layer, all tokens together."""

NEAR_BEST = 2.0
"""How far the automatic step may be from the best step of a grid of powers of two."""

PROBE = 1e-10
"""scikit-learn's Newton solver, in the span of the samples, to a gradient of 1e-12 a sample."""
