"""Tiling, memory, what is kept, what is refused, and what is left as it was."""

import re

import pytest
import torch
import zoo
from exact.cases import model_of
from exact.closeness import assert_close
from kernels.ntk_cases import EXAMPLES, QUERIES

from coldlens.errors import ArgumentError, ExampleError, ModelError
from coldlens.examples.example import Example
from coldlens.kernels import EmpiricalNTK
from coldlens.kernels.cache import Kept
from coldlens.kernels.structured import structured_blocks
from coldlens.kernels.work import Work
from coldlens.models.parameters import accurate_parameters

EXACT = 1e-12
LITTLE = 2_000_000
"""Bytes: less than the sequences of the tests need together, so that rows and pairs are tiled."""


def kernel_of(name="llama", **settings):
    return EmpiricalNTK(model_of(name), QUERIES, EXAMPLES, [2], **settings)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_tiles_change_nothing(name):
    model = model_of(name)
    engine = kernel_of(name)._engine
    values, points = accurate_parameters(model, 2), engine.setting.points
    pairs = [(i, j) for i in range(len(points)) for j in range(len(points))]
    for trace in (False, True):
        whole, tiled = (
            structured_blocks(
                model, values, engine.structure, points, pairs, trace=trace, max_memory=memory
            )
            for memory in (2 << 30, LITTLE)
        )
        for pair in pairs:
            assert_close(tiled[pair], whole[pair], EXACT, f"pair {pair}")
    wide, narrow = kernel_of(name), kernel_of(name, max_memory=LITTLE)
    assert_close(narrow.cross_block(2, 0, 1), wide.cross_block(2, 0, 1), EXACT, "every token")
    assert narrow.estimate().peak_bytes <= LITTLE < wide.estimate().peak_bytes


def test_probes_compress_blocks():
    model, engine = model_of("llama"), kernel_of()._engine
    probes = torch.randn(5, 16, dtype=torch.float64)
    values, points = accurate_parameters(model, 2), engine.setting.points
    arguments = (model, values, engine.structure, points, [(0, 1), (1, 1)])
    found, whole = structured_blocks(*arguments, probes=probes), structured_blocks(*arguments)
    for pair, block in whole.items():
        assert_close(found[pair], probes @ block @ probes.T, EXACT, f"pair {pair}")


def test_too_little_memory():
    with pytest.raises(ArgumentError, match=r"max_memory of .* or more"):
        kernel_of(max_memory=10_000).blocks(2)
    with pytest.raises(ArgumentError, match="tokens against"):
        kernel_of(max_memory=10_000).cross_block(2, 0, 0)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
@pytest.mark.parametrize(
    "ask",
    [
        lambda kernel: kernel.blocks(2),
        lambda kernel: kernel.traces(2),
        lambda kernel: kernel.cross_block(2, 0, 1),
    ],
    ids=["blocks", "traces", "every token"],
)
def test_the_memory_that_the_message_names_is_enough(name, ask):
    with pytest.raises(ArgumentError) as refused:
        ask(kernel_of(name, max_memory=10_000))
    (named,) = re.findall(r"max_memory of (\d+) bytes", str(refused.value))
    expected = ask(kernel_of(name))
    assert_close(ask(kernel_of(name, max_memory=int(named))), expected, EXACT, "as advised")


def test_forms_follow_the_count_of_operations():
    few = Work({0: 4, 1: 4}, [(0, 1)], rows=16, trace=False)
    many = Work({0: 40, 1: 40}, [(0, 1)], rows=16, trace=False)
    assert few.operations("Gram", 8, 16) == 16 * 8 * (4 * 4 + 16 * 4)
    assert few.operations("weight", 8, 16) == 16 * 8 * 16 * (4 + 4 + 16)
    assert (few.form(8, 16), many.form(8, 16), many.form(8, None)) == ("Gram", "weight", "Gram")


def test_estimate_fits_a_line():
    fast, slow = kernel_of().estimate(), kernel_of(method="jacobian").estimate()
    assert "multiply-adds, at most" in str(fast)
    assert "\n" not in str(fast)
    assert fast.forms.keys() == slow.forms.keys()
    assert set(slow.forms.values()) == {"dense"}
    assert fast.operations > 0
    assert fast.peak_bytes > 0


def test_results_are_kept_and_safe(monkeypatch):
    kernel = kernel_of()
    first, across = kernel.blocks(2), kernel.cross_block(2, 0, 0)
    for name in ("blocks", "across"):
        monkeypatch.setattr(kernel._engine, name, None)
    assert torch.equal(kernel.blocks(2), first)
    first.zero_()
    across.zero_()
    assert kernel.blocks(2).any()
    assert kernel.cross_block(2, 0, 0).any()


def test_what_is_kept_is_bounded():
    kept = Kept(limit=3 * 8)
    for key in range(3):
        kept.add(key, torch.zeros(1, dtype=torch.float64))
    assert kept.get(0) is not None
    kept.add(3, torch.zeros(1, dtype=torch.float64))
    assert [kept.get(key) is not None for key in range(4)] == [True, False, True, True]
    kept.add(4, torch.zeros(4, dtype=torch.float64))
    assert all(kept.get(key) is None for key in range(5))


def test_models_stay_as_they_are():
    model = zoo.bridge("gpt2", dtype=torch.float64)
    parameters = list(model.original_model.parameters())
    before = [parameter.detach().clone() for parameter in parameters]
    state = torch.get_rng_state()
    kernel = EmpiricalNTK(model, QUERIES, EXAMPLES, [1])
    with torch.inference_mode():
        kernel.blocks(1)
        kernel.cross_block(1, 0, 0)
    with torch.no_grad():
        EmpiricalNTK(model, QUERIES, EXAMPLES, [1], method="jacobian").blocks(1)
    assert torch.equal(torch.get_rng_state(), state)
    after = list(model.original_model.parameters())
    assert all(one is other for one, other in zip(parameters, after, strict=True))
    for parameter, value in zip(after, before, strict=True):
        assert torch.equal(parameter, value)
        assert parameter.grad is None
        assert parameter.requires_grad
    assert not any(module._forward_hooks for module in model.original_model.modules())


def test_hooks_are_gone_after_an_error():
    model = zoo.bridge("llama")
    kernel = EmpiricalNTK(model, QUERIES, EXAMPLES, [1])

    def fail(*_arguments):
        raise ZeroDivisionError

    handle = model.blocks[1].hook_resid_post.register_forward_hook(fail)
    with pytest.raises(ZeroDivisionError):
        kernel.blocks(1)
    handle.remove()
    assert not any(module._forward_hooks for module in model.original_model.modules())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(max_memory=0), "max_memory > 0"),
        (dict(layers=7), "layers between 0 and 2"),
    ],
)
def test_refused_settings(settings, message):
    with pytest.raises(ArgumentError, match=message):
        EmpiricalNTK(model_of("llama"), QUERIES, EXAMPLES, **settings)


def test_refused_questions():
    kernel = EmpiricalNTK(model_of("llama"), QUERIES, [Example("red dog", " blue")], [1])
    with pytest.raises(ArgumentError, match=r"one of the layers \[1\]"):
        kernel.blocks(0)
    with pytest.raises(ArgumentError, match="query between 0 and 2"):
        kernel.self_block(1, 3)
    with pytest.raises(ArgumentError, match="example between 0 and 0"):
        kernel.cross_block(1, 0, 1)
    with pytest.raises(ExampleError, match="negative completion"):
        kernel.cross_block(1, 0, 0, "negative")


def test_refused_models():
    model = zoo.bridge("llama")
    model.original_model.train()
    with pytest.raises(ModelError, match="evaluation mode"):
        EmpiricalNTK(model, QUERIES, EXAMPLES)
    folded = zoo.bridge("llama")
    folded.enable_compatibility_mode(disable_warnings=True)
    with pytest.raises(ModelError, match="raw numerics for EmpiricalNTK"):
        EmpiricalNTK(folded, QUERIES, EXAMPLES)
