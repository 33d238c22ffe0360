"""Nothing of the caller's changes: weights, gradients, flags, modes, hooks, tokenizer, RNG."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import zoo
from torch import Tensor

from coldlens.capture import Needs, collect
from coldlens.directions import ColdFD, ColdJVP, ColdKernel, FineTune
from coldlens.losses import CrossEntropy
from coldlens.models.forward import residuals
from coldlens.steering.steering import Steering

IDS = torch.tensor([[1, 30, 31, 32]])
GREEDY = dict(max_new_tokens=3, do_sample=False, return_type="tokens", verbose=False)


def test_fit_and_readings(mixed, examples, method, watch):
    changed = watch(mixed)
    steering = method.fit(mixed, examples)
    assert changed() == []
    steering.displacement(["red blue", "the cat asks you"])
    steering.displacement(IDS)
    assert changed() == []
    steering.readings(["one"])
    steering.vector(1)
    assert changed() == []


def test_apply_forward_and_generate(mixed, examples, method, watch):
    steering = method.fit(mixed, examples)
    changed = watch(mixed)
    with steering.apply(mixed, layer=[0, 2], eta=0.5):
        mixed(IDS)
    assert changed() == []
    with steering.apply(mixed, layer=1, positions="all"):
        mixed.generate(IDS, **GREEDY)
        mixed.generate(["red", "the cat asks"], **GREEDY)
    assert changed() == []


def test_save_and_load(mixed, examples, method, watch, tmp_path: Path):
    steering = method.fit(mixed, examples)
    changed = watch(mixed)
    steering.save(tmp_path / "a.safetensors")
    Steering.load(tmp_path / "a.safetensors", mixed)
    assert changed() == []


class _Interrupt:
    """A loss that fails in its second batch, in the middle of a fit."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error, self.calls = error, 0

    def __call__(self, logits: Tensor, batch: Any) -> Tensor:
        self.calls += 1
        if self.calls > 1:
            raise self.error("stop")
        return CrossEntropy()(logits, batch)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize(
    "build",
    [
        *(ColdKernel, lambda loss: ColdKernel(loss, kernel="linear"), ColdFD, ColdJVP),
        lambda loss: FineTune(steps=3, loss=loss),
    ],
    ids=["ColdKernel", "linear", "ColdFD", "ColdJVP", "FineTune"],
)
def test_a_loss_that_raises(mixed, examples, watch, build, error):
    changed, loss = watch(mixed), _Interrupt(error)
    with pytest.raises(error, match="stop"):
        build(loss).fit(mixed, examples, batch_size=2)
    assert loss.calls == 2
    assert changed() == []
    build(None).fit(mixed, examples)
    assert changed() == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize(
    "method", [ColdFD(epsilon=0.1), ColdJVP(), ColdKernel(kernel="linear")], ids=lambda m: m.label
)
def test_a_callers_hook_that_raises(mixed, examples, watch, method, error):
    steering = method.fit(mixed, examples)

    def broken(_module: Any, _inputs: Any, _output: Any) -> None:
        raise error("hook")

    handle = mixed.hook_dict["blocks.1.hook_resid_post"].register_forward_hook(broken)
    changed = watch(mixed)
    with pytest.raises(error, match="hook"):
        steering.displacement(IDS)
    with pytest.raises(error, match="hook"):
        method.fit(mixed, examples)
    with pytest.raises(error, match="hook"), steering.apply(mixed, layer=0):
        mixed(IDS)
    assert changed() == []
    handle.remove()
    assert changed() == ["hooks"]
    steering.displacement(IDS)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_inside_a_steered_block(mixed, examples, watch, error):
    changed = watch(mixed)
    steering = ColdJVP().fit(mixed, examples)
    with pytest.raises(error, match="inside"), steering.apply(mixed, layer=[0, 1]):  # noqa: PT012
        mixed(IDS)
        raise error("inside")
    assert changed() == []


def test_a_callers_hook_survives_and_still_acts(mixed, examples):
    seen = []
    point = mixed.hook_dict["blocks.1.hook_resid_post"]
    handle = point.register_forward_hook(lambda _module, _inputs, output: seen.append(output.shape))
    steering = ColdFD(epsilon=0.1).fit(mixed, examples)
    with steering.apply(mixed, layer=1):
        mixed(IDS)
    before = len(seen)
    assert before > 1
    mixed(IDS)
    assert len(seen) == before + 1
    handle.remove()
    assert all(not point._forward_hooks for point in mixed.hook_dict.values())


def test_forward_mode_leaves_no_dual_level(mixed, examples):
    ColdJVP().fit(mixed, examples).displacement(IDS)
    level = torch.autograd.forward_ad._current_level
    assert level == -1


def test_residuals_stop_early_without_a_trace(mixed, watch):
    changed = watch(mixed)
    mask = torch.ones_like(IDS).bool()
    streams, logits = residuals(mixed, IDS, mask, [0, 1])
    assert list(streams) == [0, 1]
    assert logits is None
    assert changed() == []


def test_collect_leaves_no_graph_in_its_results(mixed, examples, watch):
    changed = watch(mixed)
    needs = Needs(
        gradients=frozenset({(CrossEntropy(), "prompt")}),
        parameter_gradients=frozenset({CrossEntropy()}),
    )
    found = collect(mixed, examples, (0, 1), needs)
    tensors = [*found.gradients.values(), *found.losses.values()]
    tensors += found.parameter_gradients[CrossEntropy()].values()
    assert not any(tensor.requires_grad for tensor in tensors)
    assert changed() == []


_ALONE = """
import random, sys
sys.path.insert(0, {tests!r})
import zoo
from coldlens.directions import METHODS
from coldlens.examples.example import Example
model = zoo.bridge("llama")
examples = [Example("red ?", " yes", " no"), Example("the cat", " stay", " go")]
before = random.getstate()
for method in METHODS.values():
    steering = method().fit(model, examples)
    with steering.apply(model, layer=1):
        model.generate("red", max_new_tokens=1, do_sample=False, verbose=False)
    steering.vector(0)
assert random.getstate() == before
"""


def test_pythons_random_state_without_type_checks():
    """In a process of its own, since beartype draws from the state that is watched."""
    script = _ALONE.format(tests=str(Path(zoo.__file__).parent))
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-500:]


def test_the_watch_notices(mixed, watch):
    """Counter-case: each part of the watched state is seen to change."""
    tokenizer: Any = mixed.tokenizer
    weight = mixed.original_model.get_output_embeddings().weight
    changed = watch(mixed)
    weight.requires_grad_(not weight.requires_grad)
    assert changed() == ["requires_grad"]
    weight.requires_grad_(not weight.requires_grad)
    torch.rand(1)
    assert changed() == ["random"]
    changed = watch(mixed)
    tokenizer.padding_side = "left"
    assert changed() == ["tokenizer"]
    tokenizer.padding_side = "right"
    with torch.no_grad():
        weight[0, 0] += 1
        assert changed() == ["values", "versions", "modes"]
        weight[0, 0] -= 1
