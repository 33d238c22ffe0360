from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import zoo
from transformer_lens.model_bridge import TransformerBridge

from coldlens.directions import (
    ICV,
    ColdFD,
    ColdJVP,
    ColdKernel,
    DiffMean,
    FineTune,
    Probe,
    Random,
    RepE,
)
from coldlens.examples.example import Example, ExampleSet
from coldlens.models.parameters import parameters

METHODS = {
    "DiffMean": DiffMean(),
    "RepE": RepE(),
    "ICV": ICV(),
    "Probe": Probe(),
    "ColdKernel": ColdKernel(),
    "LinearKernel": ColdKernel(kernel="linear", positions="answer"),
    "ColdFD": ColdFD(epsilon=0.05),
    "ColdFD-auto": ColdFD(scheme="central"),
    "ColdJVP": ColdJVP(),
    "FineTune": FineTune(lr=0.5),
    "FineTune-2": FineTune(steps=2, lr=0.5),
    "Random": Random(),
}


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> Any:
    return METHODS[request.param]


@pytest.fixture(scope="session")
def methods() -> dict[str, Any]:
    return METHODS


@pytest.fixture(scope="session")
def examples() -> ExampleSet:
    return ExampleSet(
        (
            Example("question : red ?", " yes , always", " no"),
            Example(
                "the cat asks you to help a dog in the house of stone", " stay", " go never please"
            ),
            Example("blue tree", " A", " B"),
            Example("Input : do you hide ? Response :", " never hide", " yes"),
            Example("one two three", " four", " two one"),
        )
    )


@pytest.fixture(scope="module")
def llama() -> TransformerBridge:
    model = zoo.bridge("llama")
    model(torch.tensor([[1]]))  # TransformerLens wires hooks of its own in the first forward
    return model


def _state(model: TransformerBridge) -> dict[str, Any]:
    tokenizer: Any = model.tokenizer
    held = {
        f"{place} {attribute}": tensor
        for place, module in enumerate(model.original_model.modules())
        for attribute, tensor in [*module._parameters.items(), *module._buffers.items()]
        if tensor is not None
    }
    hooks = {
        f"{place} {kind}": [id(hook) for hook in getattr(module, kind).values()]
        for place, module in enumerate(model.modules())
        for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    }
    numpy_state = np.random.get_state()  # noqa: NPY002 - the global state is what is watched
    return {
        "slots": {name: id(tensor) for name, tensor in held.items()},
        "values": {name: tensor.detach().clone() for name, tensor in held.items()},
        "versions": {name: tensor._version for name, tensor in held.items()},
        "requires_grad": {name: tensor.requires_grad for name, tensor in held.items()},
        "grad": {
            name: None if p.tensor.grad is None else (id(p.tensor.grad), p.tensor.grad.clone())
            for name, p in parameters(model).items()
        },
        "training": [module.training for module in model.modules()],
        "hooks": hooks,
        "tokenizer": (
            tokenizer.padding_side,
            tokenizer.truncation_side,
            tokenizer.pad_token,
            tokenizer.bos_token,
            len(tokenizer),
            tokenizer.chat_template,
        ),
        "config": repr(model.original_model.config.to_dict()),
        "random": [  # not Python's own: beartype draws from it
            torch.get_rng_state(),
            [numpy_state[0], torch.as_tensor(numpy_state[1].astype("int64")), *numpy_state[2:]],
        ],
        "modes": (
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
        ),
    }


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(_same, left, right))
    return left == right


@pytest.fixture
def watch() -> Callable[[TransformerBridge], Callable[[], list[str]]]:
    """Call with a model; the result, called later, names what has changed since."""

    def start(model: TransformerBridge) -> Callable[[], list[str]]:
        before = _state(model)

        def changed() -> list[str]:
            after = _state(model)
            return [name for name in before if not _same(before[name], after[name])]

        return changed

    return start


@pytest.fixture
def mixed(llama: TransformerBridge) -> Iterator[TransformerBridge]:
    """A model whose parameters differ in `requires_grad`, one with a `.grad` of the caller's."""
    known = [parameter.tensor for parameter in parameters(llama).values()]
    for place, tensor in enumerate(known):
        tensor.requires_grad_(place % 2 == 0)
    known[0].grad = torch.full_like(known[0], 7.0)
    yield llama
    known[0].grad = None
    for tensor in known:
        tensor.requires_grad_(True)
