"""The bundled model, loaded once."""

import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

from coldlens.demo import WEIGHTS


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Run on one thread, as training does."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def demo_model() -> LlamaForCausalLM:
    """The bundled weights."""
    return LlamaForCausalLM.from_pretrained(WEIGHTS).eval()


@pytest.fixture(scope="session")
def demo_tokenizer() -> PreTrainedTokenizerFast:
    """The bundled tokenizer."""
    return AutoTokenizer.from_pretrained(WEIGHTS)
