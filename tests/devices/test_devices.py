"""Models on two devices give the same numbers, and the host does not wait for each layer."""

import pytest
import torch

DTYPES = [torch.float64, torch.float32]
CASES = [("llama", dtype) for dtype in DTYPES] + [("gpt2", DTYPES[0]), ("gemma2", DTYPES[1])]
WORK = (
    "dense",
    "factored",
    "activations",
    "moved",
    "pushforward",
    "steered by a vector",
    "steered by a tangent",
    "steered by a difference",
)


def test_the_devices_are_two(elsewhere):
    assert "two devices" in elsewhere("mixing")
    assert elsewhere("places", *CASES[0]) == {"cpu", "elsewhere:0"}


@pytest.mark.parametrize(
    "what", ["same_directions", "same_offloaded", "same_steering", "same_tables"]
)
@pytest.mark.parametrize(("name", "dtype"), CASES, ids=str)
def test_sharded_model(elsewhere, what, name, dtype):
    elsewhere(what, name, dtype)


@pytest.mark.parametrize("work", WORK)
def test_host_waits_as_often_for_more_layers(elsewhere, work):
    few, many = elsewhere("waits", work, 2), elsewhere("waits", work, 6)
    assert few == many
    assert sum(few.values()) > 0
