"""Uses of a steered block that would silently do something else."""

import stat
from dataclasses import dataclass

import pytest
import torch
import zoo

import coldlens as cl

EXAMPLES = [cl.Example("a user asks", " yes", " no"), cl.Example("the dog", " stay", " go")]


@pytest.fixture(scope="module")
def model():
    return zoo.bridge("llama")


@pytest.fixture(scope="module")
def steering(model):
    return cl.DiffMean().fit(model, EXAMPLES)


def test_a_cache_from_before_the_block_is_an_error(model, steering):
    tokens = torch.tensor([[1, 5, 6]])
    _, cache = model(tokens, return_type="logits_and_cache", use_cache=True)
    following = torch.tensor([[7]])
    with (
        pytest.raises(cl.SteeringError, match="a key-value cache of 3 tokens from before"),
        steering.apply(model, layer=1),
    ):
        model(following, past_key_values=cache)


def test_editing_a_vector_does_not_edit_the_steering(steering):
    before = steering.vector(1).clone()
    steering.vector(1).zero_()
    assert torch.equal(steering.vector(1), before)


def test_a_saved_file_is_as_readable_as_any_other(steering, tmp_path):
    steering.save(tmp_path / "a.safetensors")
    (tmp_path / "b").touch()
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.safetensors", "b")}
    assert len(modes) == 1


def test_a_loss_that_cannot_be_hashed_is_an_error(model):
    @dataclass
    class Sum:
        def __call__(self, logits, batch):
            return logits.sum((1, 2))

    with pytest.raises(cl.ArgumentError, match=r"a loss that can be hashed.*frozen=True"):
        cl.ColdKernel(loss=Sum()).fit(model, EXAMPLES)


@pytest.mark.parametrize(("name", "first"), [("llama", 1), ("qwen2", 5), ("neox", 5)])
def test_automatic_bos_follows_transformer_lens(name, first):
    model = zoo.bridge(name)
    prompt = cl.ColdKernel().fit(model, [cl.Example(zoo.WORDS[5], " yes", " no")]).prompts[0]
    assert prompt[0] == first
