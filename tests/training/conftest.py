from typing import Any

import pytest
import torch
import zoo
from torch import Tensor

from coldlens.examples.example import Example, ExampleSet
from coldlens.models.parameters import parameters

EXAMPLES = ExampleSet(
    (
        Example("question : red ?", " yes , always", " no"),
        Example("the cat asks you to help a dog in the house", " stay", " go never please"),
        Example("blue tree", " A", " B"),
        Example("Input : do you hide ? Response :", " never hide", " yes"),
        Example("one two three", " four", " two one"),
        Example("green bird ?", " maybe", " yes no"),
    )
)


@pytest.fixture(scope="session")
def examples() -> ExampleSet:
    return EXAMPLES


@pytest.fixture(scope="session")
def llama() -> Any:
    model = zoo.bridge("llama")
    model(torch.tensor([[1]]))  # TransformerLens wires hooks of its own in the first forward
    return model


def state_of(model: Any) -> dict[str, Any]:
    """Everything of the caller's that a training could change."""
    modules = list(model.original_model.modules())
    return {
        "slots": [id(p) for module in modules for p in module._parameters.values()],
        "versions": [p.tensor._version for p in parameters(model).values()],
        "grads": [p.tensor.grad for p in parameters(model).values()],
        "requires_grad": [p.tensor.requires_grad for p in parameters(model).values()],
        "training": [module.training for module in model.modules()],
        "hooks": [len(module._forward_hooks) for module in model.modules()],
        "tokenizer": (model.tokenizer.padding_side, model.tokenizer.pad_token),
        "config": repr(model.original_model.config.to_dict()),
        "random": torch.get_rng_state().tolist(),
        "modes": (torch.get_default_dtype(), torch.is_grad_enabled()),
    }


@pytest.fixture
def untouched(llama):
    """Fail where the weights of the model or anything around them are not as they were."""
    values: list[Tensor] = [p.tensor.detach().clone() for p in parameters(llama).values()]
    before = state_of(llama)
    yield llama
    assert state_of(llama) == before
    for parameter, value in zip(parameters(llama).values(), values, strict=True):
        assert torch.equal(parameter.tensor, value)
