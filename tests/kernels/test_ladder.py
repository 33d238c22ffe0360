"""The ladder's ends and the figures of blocks, where the answer is known."""

import pytest
import torch
from exact.cases import DATA, INPUTS, model_of
from exact.closeness import assert_close, assert_far

from coldlens.agreement.ladder import at_last_token, compared
from coldlens.agreement.spectrum import (
    effective_rank,
    eigenvalue_shares,
    first_singular_share,
    identity_fit,
)
from coldlens.capture import Needs, collect
from coldlens.capture.token_gradients import token_gradients
from coldlens.examples.tokens import encode
from coldlens.kernels.products import mean_pullback
from coldlens.losses import DPO, CrossEntropy

EXACT = 1e-9
EXAMPLES = DATA["paired"]
LAYER = 1


def both(model, loss):
    """Returns ḡ_l and the whole gradient g of the loss."""
    encoded = encode(model, EXAMPLES)
    gradients = [token_gradients(model, example, loss, [LAYER]) for example in encoded]
    needs = Needs(parameter_gradients=frozenset({loss}))
    whole = collect(model, EXAMPLES, (LAYER,), needs).parameter_gradients[loss]
    return mean_pullback(model, LAYER, gradients), whole


@pytest.mark.parametrize("loss", [DPO(beta=0.7), CrossEntropy()])
@pytest.mark.parametrize("name", ["llama", "qwen3", "phi3", "neox"])
def test_untied_the_kernel_sum_is_exact(name, loss):
    model = model_of(name)
    summed, whole = both(model, loss)
    found = at_last_token(model, summed, INPUTS, (LAYER,))[0]
    exact = at_last_token(model, whole, INPUTS, (LAYER,))[0]
    table = compared({"full": found, "half": found / 2}, exact).groupby("rung").mean()
    assert table.loc["full"].relative_error < EXACT
    assert table.loc["full"].cosine == pytest.approx(1, abs=EXACT)
    assert table.loc["half"].relative_error == pytest.approx(0.5)
    assert table.loc["half"].norm_ratio == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["gpt2", "qwen2", "gemma2"])
def test_tied_it_lacks_the_part_of_the_unembedding_and_no_other(name):
    model = model_of(name)
    summed, whole = both(model, DPO(beta=0.7))
    table = model.original_model.get_input_embeddings().weight
    (tied,) = [
        key.replace("._original_component", "")
        for key, parameter in model.original_model.named_parameters()
        if parameter is table
    ]
    assert_far(summed[tied], whole[tied], 1e-3, "tied embedding")
    rest = [key for key in summed if key != tied]
    left, right = (torch.cat([one[key].flatten() for key in rest]) for one in (summed, whole))
    assert_close(left, right, EXACT, "all other parameters")

    unembedding = {tied: whole[tied] - summed[tied]}
    full, part, exact = (
        at_last_token(model, direction, INPUTS, (LAYER,))
        for direction in (summed, unembedding, whole)
    )
    assert_far(full, exact, 1e-3, "without the unembedding's part")
    assert_close(full + part, exact, EXACT, "with it")


def test_a_multiple_of_the_identity_is_recognised():
    fit = identity_fit(torch.stack([3 * torch.eye(5), -2 * torch.eye(5)]).double())
    assert fit["alignment"].tolist() == pytest.approx([1, -1])
    assert fit["scale"].tolist() == pytest.approx([3, -2])
    assert fit["residual"].tolist() == pytest.approx([0, 0], abs=1e-12)
    shares = eigenvalue_shares(7 * torch.eye(5).double())
    assert effective_rank(shares).item() == pytest.approx(5)


def test_a_block_of_rank_one_is_far_from_it():
    vector = torch.randn(9, 1).double()
    block = vector @ vector.T
    fit = identity_fit(block)
    assert fit["alignment"].item() == pytest.approx(1 / 3)
    assert (fit["alignment"] ** 2 + fit["residual"] ** 2).item() == pytest.approx(1)
    shares = eigenvalue_shares(block)
    assert shares[0].item() == pytest.approx(1)
    assert effective_rank(shares).item() == pytest.approx(1, abs=1e-6)


def test_parallel_vectors_have_one_singular_value():
    vector = torch.randn(1, 6).double()
    assert first_singular_share(torch.cat([vector, -2 * vector])) == pytest.approx(1)
    assert first_singular_share(torch.eye(4).double()) == pytest.approx(0.25)


def test_without_a_displacement_there_is_no_cosine():
    exact = torch.randn(2, 4).double()
    table = compared({"zero": torch.zeros_like(exact)}, exact)
    assert table.cosine.isna().all()
    assert (table.relative_error == 1).all()


def test_sequences_come_in_groups_without_changing_the_sum(monkeypatch):
    model, loss = model_of("llama"), DPO(beta=0.7)
    whole = both(model, loss)[0]
    monkeypatch.setattr("coldlens.kernels.padded.ROWS_AT_ONCE", 3)
    grouped = both(model, loss)[0]
    assert grouped.keys() == whole.keys()
    for name, value in whole.items():
        assert_close(grouped[name], value, EXACT, name)


def test_a_half_precision_model_is_measured_in_float32():
    model = model_of("llama", torch.bfloat16)
    summed, whole = both(model, DPO(beta=0.7))
    found, exact = (at_last_token(model, one, INPUTS, (LAYER,))[0] for one in (summed, whole))
    assert found.dtype == torch.float32
    assert_close(found, exact, 1e-4)
