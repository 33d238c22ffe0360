"""Errors about hyper-parameters, losses and layers."""

import pytest
import torch

from coldlens.capture import Needs, collect
from coldlens.directions import ColdFD, ColdJVP, ColdKernel, DiffMean, FineTune
from coldlens.errors import ArgumentError
from coldlens.losses import DPO, ContrastiveSquaredError, CrossEntropy


@pytest.mark.parametrize("layers", [3, -4, [0, 5], 99])
def test_unknown_layer(llama, examples, layers):
    with pytest.raises(
        ArgumentError, match=r"layers between 0 and 2 \(0-based blocks\); found layer -?\d+. Layer"
    ):
        DiffMean().fit(llama, examples, layers=layers)


def test_no_layer(llama, examples):
    with pytest.raises(ArgumentError, match=r"at least one layer; found none. Pass layers=None"):
        DiffMean().fit(llama, examples, layers=[])


@pytest.mark.parametrize("size", [0, -1])
def test_batch_size(llama, examples, size):
    with pytest.raises(
        ArgumentError, match=f"batch_size >= 1, an integer; found batch_size = {size}"
    ):
        DiffMean().fit(llama, examples, batch_size=size)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_epsilon(epsilon):
    with pytest.raises(ArgumentError, match="epsilon > 0, a finite number; found epsilon = "):
        ColdFD(epsilon=epsilon)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (dict(steps=0), "steps >= 1, an integer; found steps = 0"),
        (dict(lr=0.0), "lr > 0, a finite number; found lr = 0.0"),
        (dict(lr=-1.0), "found lr = -1.0"),
        (dict(lr=float("nan")), "lr = nan"),
    ],
)
def test_fine_tune(settings, text):
    with pytest.raises(ArgumentError, match=text):
        FineTune(**settings)


@pytest.mark.parametrize("beta", [0.0, -0.1, float("nan")])
def test_beta(beta):
    with pytest.raises(ArgumentError, match=f"beta > 0, a finite number; found beta = {beta}"):
        DPO(beta=beta)


# The unknown word is given after construction checks of the type checker that runs in the tests.
@pytest.mark.parametrize(
    ("method", "field", "text"),
    [
        (ColdKernel(), "kernel", "kernel among 'identity', 'linear', 'entk', 'entk_trace'; found"),
        (ColdFD(), "scheme", "scheme among 'forward', 'central'; found scheme = 'other'"),
    ],
    ids=["kernel", "scheme"],
)
def test_unknown_word(method, field, text):
    object.__setattr__(method, field, "other")
    with pytest.raises(ArgumentError, match=text):
        method.__post_init__()


@pytest.mark.parametrize("method", [ColdJVP, ColdFD, lambda loss: FineTune(loss=loss)])
def test_a_residual_loss_has_no_parameter_gradient(llama, examples, method):
    with pytest.raises(
        ArgumentError,
        match=r"a loss of the logits for a parameter gradient; found ContrastiveSquaredError.* "
        "another loss at every layer. Use it with ColdKernel",
    ):
        method(ContrastiveSquaredError()).fit(llama, examples)


def _scalar(logits, batch):
    return CrossEntropy()(logits, batch).mean()


def _per_row(logits, batch):
    return logits.mean((1, 2))


def _per_token(logits, batch):
    return logits.mean(-1)


@pytest.mark.parametrize(
    ("loss", "shape"), [(_scalar, r"\(\)"), (_per_row, r"\(4,\)"), (_per_token, r"\(4, 4\)")]
)
def test_a_loss_of_the_wrong_shape(llama, examples, loss, shape):
    with pytest.raises(
        ArgumentError,
        match=rf"{loss.__name__} to return one loss an example, shape \(2,\); found shape {shape}. "
        "Reduce over tokens, not over examples",
    ):
        ColdKernel(loss).fit(llama, examples)


def test_a_callable_of_the_right_shape_is_a_loss(llama, examples):
    def mine(logits, batch):
        return CrossEntropy()(logits, batch)

    needs = Needs(parameter_gradients=frozenset({mine}))
    found = collect(llama, examples, (2,), needs).losses[mine]
    expected = Needs(parameter_gradients=frozenset({CrossEntropy()}))
    torch.testing.assert_close(
        found, collect(llama, examples, (2,), expected).losses[CrossEntropy()]
    )
