"""Uses of a steered block that would silently do something else."""

import stat
from dataclasses import dataclass

import pytest
import torch
import zoo

import coldlens as cl

EXAMPLES = [cl.Example("a user asks", " yes", " no"), cl.Example("the dog", " stay", " go")]


def _detached_loss(logits, batch):
    return logits.detach().sum((1, 2))


def _negative_loss(logits, batch):
    return cl.completion_log_probs(logits, batch, "negative")


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


@pytest.mark.parametrize("cache", [True, False])
def test_a_prompt_longer_than_the_context_is_an_error(model, steering, cache):
    longest = model.cfg.n_ctx
    with (
        pytest.raises(cl.ExampleError, match=f"at most {longest} tokens.*found {longest + 1}"),
        steering.apply(model, layer=1),
    ):
        model(torch.ones(1, longest + 1, dtype=torch.long), use_cache=cache)
    with steering.apply(model, layer=1):
        model(torch.ones(1, longest, dtype=torch.long), use_cache=cache)


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


def test_a_zero_displacement_is_not_a_silent_no_op(model):
    letters = [cl.Example("a user asks", " A", " B")]
    steering = cl.ColdKernel(positions="answer").fit(model, letters)
    with (
        pytest.raises(cl.SteeringError, match="zero: steering would do nothing"),
        steering.apply(model, layer=1),
    ):
        model(torch.tensor([[1, 5, 6]]))


@pytest.mark.parametrize("eta", [float("nan"), float("inf")])
def test_eta_must_be_finite(model, steering, eta):
    with pytest.raises(cl.ArgumentError, match="a finite eta; found eta = "):
        steering.apply(model, layer=1, eta=eta)


def test_repr_is_one_line(model, steering):
    assert "DiffMean" in repr(steering)
    assert len(repr(cl.ColdJVP().fit(model, EXAMPLES))) < 200


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        (_detached_loss, "a tensor that depends on the logits; found Tensor without a gradient"),
        (_negative_loss, "a batch with negative completions; found only positive ones"),
    ],
)
def test_bad_losses(model, loss, text):
    examples = [cl.Example("a user asks", " yes")]
    with pytest.raises(cl.ColdlensError, match=text):
        cl.ColdKernel(loss=loss).fit(model, examples)


def test_random_checks_its_reference(model):
    examples = [cl.Example("a user asks", " yes")]
    with pytest.raises(cl.ExampleError, match="a negative completion in every example"):
        cl.Random(reference=cl.DiffMean()).fit(model, examples)


def test_provenance_says_what_the_length_means(model, steering):
    assert cl.RepE().fit(model, EXAMPLES).provenance.scale == "norm 1 at each layer"
    assert steering.normalized().provenance.scale == "norm 1 at each layer"
    assert "lr=0.1" in cl.FineTune().fit(model, EXAMPLES).provenance.settings
    assert steering.provenance.positions == "answer"


@pytest.mark.parametrize(("name", "first"), [("llama", 1), ("qwen2", 5), ("neox", 5)])
def test_automatic_bos_follows_transformer_lens(name, first):
    model = zoo.bridge(name)
    prompt = cl.ColdKernel().fit(model, [cl.Example(zoo.WORDS[5], " yes", " no")]).prompts[0]
    assert prompt[0] == first
