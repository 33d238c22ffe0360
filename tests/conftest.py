"""What every test shares."""

import pytest
import torch

ALIKE = ("mistral", "qwen3", "gemma3", "neox", "phi3")
"""Architectures whose kinds of parts llama, qwen2, gemma2 and gpt2 have too, all but a few."""

LONG = (
    "exact/test_several_layers.py",
    "exact/test_several_steps.py",
    "gradients/",
    "kernels/test_ntk_parts.py",
    "equivalence/test_claims.py",
    "training/test_against_loops.py",
)
"""Checks that take minutes over all architectures: those on `ALIKE` are slow ones."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Leave long checks on architectures that are alike to `make test-slow`."""
    for item in items:
        parts = item.name.partition("[")[2].rstrip("]").split("-")
        if any(place in item.nodeid for place in LONG) and any(name in parts for name in ALIKE):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Run on one thread: the models are tiny, and results do not depend on the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def same_random_state():
    """Start every test from one seed."""
    torch.manual_seed(0)
