"""Comparison of tensors with a report that says where, how much, and what both sides are."""

import torch
from torch import Tensor


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Returns ‖found − expected‖ / ‖expected‖ in float64; infinite where only one is zero."""
    found, expected = found.double(), expected.double()
    error, size = (found - expected).norm().item(), expected.norm().item()
    if error == 0:
        return 0.0
    return error / size if size > 0 else float("inf")


def report(found: Tensor, expected: Tensor) -> str:
    """Describes a difference: its worst entry, both values there, norms and the cosine."""
    found, expected = found.double(), expected.double()
    gap = (found - expected).abs()
    worst = torch.unravel_index(gap.nan_to_num(float("inf")).argmax(), gap.shape)
    place = tuple(int(index) for index in worst)
    left, right = found[place].item(), expected[place].item()
    cosine = torch.cosine_similarity(found.flatten(), expected.flatten(), dim=0).item()
    return (
        f"relative error {relative_error(found, expected):.3e}; worst entry {place} of shape "
        f"{tuple(gap.shape)}: found {left:.12e}, expected {right:.12e}, "
        f"ratio {left / right if right else float('nan'):.9f}; norms {found.norm():.6e} and "
        f"{expected.norm():.6e}, cosine {cosine:.12f}"
    )


def assert_close(found: Tensor, expected: Tensor, bound: float, what: str = "tensors") -> None:
    """Fails with a report unless the relative error is within the bound."""
    __tracebackhide__ = True
    assert found.shape == expected.shape, f"{what}: shapes {found.shape} and {expected.shape}"
    error = relative_error(found, expected)
    assert error <= bound, f"{what}: beyond {bound:.1e}; {report(found, expected)}"


def assert_far(found: Tensor, expected: Tensor, bound: float, what: str = "tensors") -> None:
    """Fails with a report unless the relative error is above the bound."""
    __tracebackhide__ = True
    error = relative_error(found, expected)
    assert error > bound, f"{what}: within {bound:.1e}; {report(found, expected)}"
