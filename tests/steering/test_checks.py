"""Steering never silently does nothing: on leaving the block every hook must have fired."""

import pytest
import torch
import zoo

from coldlens.directions import ColdJVP, DiffMean
from coldlens.errors import ArgumentError, ExampleError, ModelError, SteeringError

IDS = torch.tensor([[1, 30, 31, 32]])


@pytest.fixture(scope="module")
def steering(llama, examples):
    return DiffMean().fit(llama, examples)


def _hooks(model) -> int:
    points = {id(point): point for point in model.hook_dict.values()}
    fired = sum(len(point._forward_hooks) for point in points.values())
    return fired + len(model.original_model._forward_pre_hooks)


def test_no_forward(llama, steering):
    with (
        pytest.raises(SteeringError, match=r"a forward pass of the steered model .* found none"),
        steering.apply(llama, layer=1),
    ):
        pass


def test_forward_of_another_model(llama, steering):
    other = zoo.bridge("llama")
    with (
        pytest.raises(SteeringError, match=r"found none. Run the model itself inside the block"),
        steering.apply(llama, layer=1),
    ):
        other(IDS)


@pytest.mark.parametrize("stop", [0, 1])
def test_a_forward_that_stops_before_the_layer(llama, steering, stop):
    with (
        pytest.raises(
            SteeringError, match=r"blocks.1.hook_resid_post .*in each of 1 forward.* 0 firings"
        ),
        steering.apply(llama, layer=1),
    ):
        llama(IDS, stop_at_layer=stop)
    assert _hooks(llama) == 0


def test_one_stopped_forward_among_whole_ones(llama, steering):
    with (  # noqa: PT012
        pytest.raises(SteeringError, match=r"each of 2 forward.*; found 1 firings"),
        steering.apply(llama, layer=2),
    ):
        llama(IDS)
        llama(IDS, stop_at_layer=1)


def test_a_forward_that_stops_after_the_layer_is_fine(llama, steering):
    with steering.apply(llama, layer=0), torch.no_grad():
        found = llama(IDS, stop_at_layer=1)
    plain = llama(IDS, stop_at_layer=1)
    torch.testing.assert_close(found, plain + steering.vector(0))


@pytest.mark.parametrize("positions", ["generated", "first_generated"])
def test_generated_positions_without_generation(llama, steering, positions):
    with (
        pytest.raises(SteeringError, match=f"positions '{positions}' to select a token"),
        steering.apply(llama, layer=1, positions=positions),
    ):
        llama(IDS)


def test_embeddings_as_input(llama, steering):
    with (
        pytest.raises(SteeringError, match="token ids as the model's input"),
        steering.apply(llama, layer=1),
    ):
        llama.original_model(inputs_embeds=torch.zeros(1, 3, 16))
    assert _hooks(llama) == 0


@pytest.mark.parametrize(
    ("positions", "text"),
    [
        ((10, 12), r"positions \(10, 12\) to select a token in every row; found none in row 0"),
        ((3, 3), "Choose a window inside the prompt"),
        ("answer", "Generated positions exist only while steering, answer positions only in"),
        ("everywhere", "positions among last_prompt, prompt, all, generated, first_generated"),
    ],
    ids=str,
)
def test_positions_that_select_nothing(llama, steering, positions, text):
    with (
        pytest.raises(ExampleError, match=text),
        steering.apply(llama, layer=1, positions=positions),
    ):
        llama(IDS)
    assert _hooks(llama) == 0


def test_no_layer(llama, steering):
    with pytest.raises(ArgumentError, match="at least one layer to steer; found none"):
        steering.apply(llama, layer=[])


def test_a_layer_that_was_not_fitted(llama, examples):
    steering = DiffMean().fit(llama, examples, layers=[1])
    with pytest.raises(ArgumentError, match=r"a fitted layer, one of \[1\]; found layer 0"):
        steering.apply(llama, layer=0)


def test_another_model(steering):
    other = zoo.bridge("llama", seed=5)
    with pytest.raises(SteeringError, match="Fit the steering on this model"):
        steering.apply(other, layer=1)


def test_training_mode(examples):
    model = zoo.bridge("llama")
    steering = DiffMean().fit(model, examples)
    model.train()
    with pytest.raises(ModelError, match=r"Call model.eval\(\) first"):
        steering.apply(model, layer=1)


def test_an_exception_of_the_caller_is_not_replaced(llama, steering):
    with pytest.raises(KeyError, match="mine"), steering.apply(llama, layer=1):
        raise KeyError("mine")
    assert _hooks(llama) == 0


def test_hooks_are_there_inside_and_gone_after(llama, examples):
    steering = ColdJVP().fit(llama, examples)
    with steering.apply(llama, layer=[0, 2]):
        assert _hooks(llama) == 3
        llama(IDS)
    assert _hooks(llama) == 0
