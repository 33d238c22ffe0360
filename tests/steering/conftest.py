import pytest
import torch
import zoo
from transformer_lens.model_bridge import TransformerBridge

from coldlens.examples.example import Example, ExampleSet

EXAMPLES = ExampleSet(
    (
        Example("question : red ?", " yes , always", " no"),
        Example("the cat asks you to help", " stay", " go never"),
        Example("blue tree", " A", " B"),
    )
)


@pytest.fixture(scope="session")
def examples() -> ExampleSet:
    return EXAMPLES


@pytest.fixture(scope="module")
def llama() -> TransformerBridge:
    model = zoo.bridge("llama")
    model(torch.tensor([[1]]))
    return model
