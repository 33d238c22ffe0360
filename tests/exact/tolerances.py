"""The tolerances of the exact comparisons, all relative to the norm of the reference."""

import zoo

EXACT = 1e-10
"""float64 all the way: two orders of summation differ by some 1e-14 here."""

ISLANDS = 1e-7
"""float64 weights, but Hugging Face up-casts a norm or a softmax to float32, whose unit round-off
is 6e-8: where two computations meet such a cast with inputs that differ by 1e-16, one rounding in
float32 may go the other way."""

SINGLE = 1e-5
"""float32 against a float64 reference of the same weights: about 100 roundings of 6e-8."""

WITHOUT_ISLANDS = ("gpt2", "neox")
"""Architectures whose bridge computes in the dtype of the weights throughout."""


def float64(architecture: str) -> float:
    """Returns the bound for an architecture in float64."""
    return EXACT if architecture in WITHOUT_ISLANDS else ISLANDS


assert set(WITHOUT_ISLANDS) <= set(zoo.CONFIGS)
