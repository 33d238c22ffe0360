"""The audit finds a forgotten parameter, and unusual uses of a weight are noticed."""

from dataclasses import replace

import pytest
import torch
import zoo
from exact.cases import ARCHITECTURES, model_of
from exact.closeness import assert_close
from kernels.ntk_cases import EXAMPLES, QUERIES

from coldlens.errors import NumericsError
from coldlens.kernels import EmpiricalNTK, engines
from coldlens.models.parameters import upstream


def without(monkeypatch, forget):
    """Makes the structure forget some parameters."""
    find = engines.find_structure

    def forgetful(*args):
        found = find(*args)
        return replace(
            found,
            maps=tuple({n: s for n, s in some.items() if not forget(n)} for some in found.maps),
            dense=tuple(tuple(n for n in some if not forget(n)) for some in found.dense),
        )

    monkeypatch.setattr(engines, "find_structure", forgetful)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_forgotten_norm_scale_is_found(monkeypatch, name, dtype):
    model = model_of(name, dtype)
    scale = next(n for n in upstream(model, 1) if "norm" in n or "ln_1" in n)
    without(monkeypatch, lambda name: name == scale)
    with pytest.raises(NumericsError, match=r"vᵀKv = .*misses a parameter"):
        EmpiricalNTK(model, QUERIES, EXAMPLES, [1]).blocks(1)


def test_a_forgotten_weight_is_found(monkeypatch):
    without(monkeypatch, lambda name: "k_proj" in name)
    kernel = EmpiricalNTK(model_of("llama"), QUERIES, EXAMPLES, [1])
    for compute in (
        kernel.query_blocks,
        kernel.traces,
        lambda layer: kernel.cross_block(layer, 0, 0),
    ):
        with pytest.raises(NumericsError, match="layer 1"):
            compute(1)
    EmpiricalNTK(model_of("llama"), QUERIES, EXAMPLES, [1], audit=False).blocks(1)


def test_audit_without_room_for_float64(monkeypatch):
    model = model_of("demo", torch.float32)
    little = 5_000_000  # bytes: two copies in float64 would need more
    EmpiricalNTK(model, QUERIES, EXAMPLES, [3], max_memory=little).traces(3)
    without(monkeypatch, lambda name: "k_proj" in name)
    with pytest.raises(NumericsError, match=r"to 4\.2e-04"):
        EmpiricalNTK(model, QUERIES, EXAMPLES, [3], max_memory=little).traces(3)


def shared_across_blocks(model):
    first, second = (block.mlp.original_component for block in model.blocks[:2])
    second.up_proj.weight = first.up_proj.weight
    return model


def scaled_twice(model):
    linear = model.blocks[1].mlp.original_component.up_proj
    linear.__class__ = type("Doubled", (type(linear),), {"forward": _doubled})
    return model


def _doubled(self, read):
    return 2 * torch.nn.functional.linear(read, self.weight)


def used_outside(model):
    # A path from the weight to the output past the module that holds it.
    block = model.blocks[0].mlp.original_component
    plain = block.forward
    block.forward = lambda read: plain(read) + read @ block.up_proj.weight.T[:, :16]
    return model


@pytest.mark.parametrize("change", [shared_across_blocks, scaled_twice, used_outside])
def test_unusual_uses_of_a_weight_are_differentiated_directly(change):
    model = change(zoo.bridge("llama", dtype=torch.float64))
    fast, slow = (
        EmpiricalNTK(model, QUERIES, EXAMPLES, [0, 2], method=method)
        for method in ("structured", "jacobian")
    )
    assert any("up_proj" in name for name in fast.coverage(2).dense)
    for layer in fast.layers:
        assert_close(fast.blocks(layer), slow.blocks(layer), 1e-12, f"blocks at layer {layer}")
    assert_close(fast.cross_block(2, 0, 1), slow.cross_block(2, 0, 1), 1e-12, "every token")


def called_twice(model):
    block = model.blocks[0].mlp.original_component
    plain = block.forward
    block.forward = lambda read: plain(plain(read))
    return model


def test_a_module_called_twice_has_its_cross_terms():
    model = called_twice(zoo.bridge("llama", dtype=torch.float64))
    fast, slow = (
        EmpiricalNTK(model, QUERIES, EXAMPLES, [2], method=method)
        for method in ("structured", "jacobian")
    )
    assert any("layers.0.mlp.up_proj" in name for name in fast.coverage(2).structured)
    assert_close(fast.blocks(2), slow.blocks(2), 1e-12, "blocks")
    assert_close(fast.cross_block(2, 0, 1), slow.cross_block(2, 0, 1), 1e-12, "every token")
