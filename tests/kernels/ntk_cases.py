"""Sequences for the kernel's tests, and the literal Jacobian that it is compared with."""

import torch

from coldlens.examples.example import Example, ExampleSet
from coldlens.references import jacobian

QUERIES = ((1, 6, 7, 8, 9), (1, 30, 35, 30), (12,))
"""New prompts; one has a single token, one has the same token twice."""

EXAMPLES = ExampleSet(
    (
        Example((9, 4, 31), (12,), (5, 17, 8)),
        Example((1, 22, 23, 24, 25, 26, 22, 7, 7, 11, 12, 13, 14), (40, 41, 42), (7, 7)),
        Example((1, 30, 35, 30), (10, 11), (11, 10)),
    )
)
"""Prompts shorter and longer than the sliding windows; the last one is a query too."""

WIDE = Example(tuple(range(1, 41)), (3, 4, 5), (6, 7))
"""More tokens than the tiny models have inputs, so that the weight form is the cheaper one."""


def literal_block(model, layer, query, example, names=None):
    """K_l((x, last), (x′, last)) by one reverse pass a row, sharing nothing with the package."""
    left = jacobian(model, query, layer, len(query) - 1)
    right = jacobian(model, example, layer, len(example) - 1)
    chosen = left if names is None else names
    total = torch.zeros(model.cfg.d_model, model.cfg.d_model, dtype=torch.float64)
    for name in chosen:
        total += left[name].flatten(1) @ right[name].flatten(1).T
    return total
