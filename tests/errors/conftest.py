import pytest
import zoo
from transformer_lens.model_bridge import TransformerBridge

from coldlens.examples.example import Example, ExampleSet


@pytest.fixture(scope="session")
def examples() -> ExampleSet:
    return ExampleSet((Example("red ?", " yes", " no"), Example("the cat", " stay", " go")))


@pytest.fixture(scope="module")
def llama() -> TransformerBridge:
    return zoo.bridge("llama")
