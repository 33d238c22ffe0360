"""E8: the blocks of the structured eNTK are those of the Jacobian, symmetric and semi-definite."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from coldlens.equivalence.rows import Case, Check, Row
from coldlens.equivalence.setting import Setting
from coldlens.kernels.ntk import EmpiricalNTK
from coldlens.models.parameters import upstream

SAME = Check("E8", "structured eNTK = contraction of Jacobians")
SYMMETRIC = Check("E8", "K(x, x′) = K(x′, x)ᵀ")
DEFINITE = Check("E8", "self-blocks are positive semi-definite")
LARGEST = 2 << 30
"""Bytes that the two Jacobians may take."""


def kernel_block_rows(setting: Setting) -> Iterator[Row]:
    """Checks blocks between the last tokens of two prompts.

    Blocks are equal within `Setting.rounding`. An eigenvalue of a symmetric matrix moves by no
    more than the norm of its error (Weyl), so a self-block may have one of −rounding · largest.

    Args:
        setting: The setting.

    Yields:
        For each of the few layers the claims and counter-cases: a kernel without one norm
        scale, a block that is not transposed, and a self-block without its trace.
    """
    model, pair = setting.model, setting.pair
    prompts, layers = list(setting.pair_prompts), setting.few
    kernel = EmpiricalNTK(model, prompts, pair, layers, positions="last_prompt")
    last = len(prompts) - 1
    for layer in tqdm(layers, desc="E8", disable=not setting.progress):
        forward = kernel.cross_block(layer, 0, last)[0]
        needed = _jacobian_bytes(setting, layer)
        if needed > LARGEST:
            yield SAME.absent(f"the Jacobians take {needed / 2**30:.1f} GiB", layer)
        else:
            yield from _against_jacobian(setting, layer, forward)
        if last == 0:
            yield SYMMETRIC.absent("needs two different prompts", layer)
        else:
            yield from _both_ways(setting, layer)
        block = kernel.self_block(layer, 0)
        trace = block.trace() / len(block) * torch.eye(len(block)).to(block)
        cases: tuple[tuple[Case, Tensor, str], ...] = (
            ("claim", block, "self-block"),
            ("counter", block - trace, "self-block minus (tr K / d) I"),
        )
        for case, matrix, detail in cases:
            values = torch.linalg.eigvalsh((matrix + matrix.T) / 2)
            error = max(0.0, (-values[0] / values[-1]).item())
            yield DEFINITE.bounded(layer, error, setting.rounding, detail, case)


def _both_ways(setting: Setting, layer: int) -> Iterator[Row]:
    """Compares blocks that were computed from either side.

    The kernel at all tokens goes back from the query and forward along the example, so the two
    share no step of the computation.

    Args:
        setting: The setting.
        layer: The layer.

    Yields:
        The claim and its counter-case.
    """
    prompts = list(setting.pair_prompts)
    kernel = EmpiricalNTK(setting.model, prompts, setting.pair, layer)
    one = kernel.cross_block(layer, 0, 1)[len(prompts[1]) - 1]
    other = kernel.cross_block(layer, 1, 0)[len(prompts[0]) - 1]
    yield SYMMETRIC.equal(layer, one, other.T, setting.rounding, "K(x′, x) transposed")
    yield SYMMETRIC.equal(layer, one, other, setting.rounding, "K(x′, x) as it is", "counter")


def _against_jacobian(setting: Setting, layer: int, block: Float[Tensor, "d d"]) -> Iterator[Row]:
    model, prompts, pair = setting.model, list(setting.pair_prompts), setting.pair
    last = len(prompts) - 1
    literal = EmpiricalNTK(model, prompts, pair, layer, method="jacobian", positions="last_prompt")
    right = literal.cross_block(layer, 0, last)[0]
    yield SAME.equal(layer, block, right, setting.rounding, "at the last prompt tokens")
    known = EmpiricalNTK(model, prompts, pair, layer, positions="last_prompt").coverage(layer)
    dropped = (*known.dense, *known.structured)[0]
    partial = EmpiricalNTK(
        model, prompts, pair, layer, positions="last_prompt", params=lambda name: name != dropped
    )
    left = partial.cross_block(layer, 0, last)[0]
    yield SAME.equal(layer, left, right, setting.rounding, f"without {dropped}", "counter")


def _jacobian_bytes(setting: Setting, layer: int) -> int:
    entries = sum(found.tensor.numel() for found in upstream(setting.model, layer).values())
    return 2 * entries * setting.model.cfg.d_model * 8
