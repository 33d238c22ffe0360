from typing import Any

import pytest
import zoo
from transformer_lens.model_bridge import TransformerBridge

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}Input : {{ message['content'] }} "
    "{% endfor %}{% if add_generation_prompt %}Response : {% endif %}"
)


@pytest.fixture(scope="module")
def model() -> TransformerBridge:
    return zoo.bridge("llama")


@pytest.fixture
def chat_model() -> TransformerBridge:
    model = zoo.bridge("llama")
    tokenizer: Any = model.tokenizer
    tokenizer.chat_template = TEMPLATE
    return model
