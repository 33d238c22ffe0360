"""Left-padded, right-padded and unbatched runs give the same numbers at every real token."""

import pytest
import torch
import zoo
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.directions import ColdFD, ColdJVP, ColdKernel, DiffMean, FineTune
from coldlens.examples.batch import batch_of, pad
from coldlens.examples.example import ExampleSet
from coldlens.examples.tokens import encode
from coldlens.losses import DPO, ContrastiveSquaredError, CrossEntropy, NegativeCrossEntropy
from coldlens.models.forward import residuals

ARCHITECTURES = ["gpt2", "llama", "gemma3", "neox"]
SEQUENCES = [(1, 6, 31), (1, *range(20, 38)), (1, 9, 9, 40, 41, 12, 30)]
TOLERANCE = 1e-5  # float32 sums of another length
DIFFERENCE = 1e-3  # a difference of two float32 forwards: round-off over the relative move


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request: pytest.FixtureRequest) -> TransformerBridge:
    return zoo.bridge(request.param)


def _error(left: Tensor, right: Tensor) -> float:
    return ((left - right).norm() / right.norm()).item()


def test_residuals_and_logits_ignore_padding(model):
    layers = (0, 1, 2)
    for side in ("left", "right"):
        tokens, mask = pad(SEQUENCES, side=side)
        streams, logits = residuals(model, tokens, mask, layers, logits=True)
        for row, ids in enumerate(SEQUENCES):
            one, alone = pad([ids])
            single, single_logits = residuals(model, one, alone, layers, logits=True)
            for layer in layers:
                assert _error(streams[layer][row, mask[row]], single[layer][0]) < TOLERANCE
            assert _error(logits[row, mask[row]], single_logits[0]) < TOLERANCE


def test_left_padding_without_the_mask_is_wrong(model):
    tokens, mask = pad(SEQUENCES, side="left")
    right = residuals(model, tokens, mask, [2])[0][2]
    wrong = residuals(model, tokens, torch.ones_like(mask), [2])[0][2]
    assert _error(wrong[0, mask[0]], right[0, mask[0]]) > 0.05


@pytest.mark.parametrize(
    ("method", "tolerance"),
    [
        (DiffMean(), TOLERANCE),
        (ColdJVP(), TOLERANCE),
        (ColdKernel(kernel="linear"), TOLERANCE),
        (ColdFD(epsilon=0.05, scheme="central"), DIFFERENCE),
        (FineTune(lr=0.5), DIFFERENCE),
    ],
    ids=lambda value: getattr(value, "label", ""),
)
def test_displacements_ignore_padding(model, examples, method, tolerance):
    steering = method.fit(model, examples, layers=[0, 2])
    for side in ("left", "right"):
        tokens, mask = pad(SEQUENCES, side=side)
        found = steering.displacement(tokens, mask)
        for row, ids in enumerate(SEQUENCES):
            single = steering.displacement(torch.tensor([ids]))
            for layer in (0, 2):
                assert found[layer].shape == (*tokens.shape, 16)
                assert not found[layer][row, ~mask[row]].any()
                assert _error(found[layer][row, mask[row]], single[layer][0]) < tolerance


@pytest.mark.parametrize(
    "loss",
    [CrossEntropy(), CrossEntropy("sum"), NegativeCrossEntropy(), DPO(), DPO(normalize="sum")],
    ids=repr,
)
def test_losses_ignore_padding(model, examples, loss):
    encoded = encode(model, examples)
    index = range(len(encoded))

    def value(which: range | list[int], side: str) -> Tensor:
        batch = batch_of(encoded, which, loss.sides, padding_side=side)
        logits = residuals(model, batch.tokens, batch.attention_mask, [0], logits=True)[1]
        return loss(logits, batch)

    alone = torch.cat([value([one], "right") for one in index])
    assert alone.std() > 0.01
    for side in ("left", "right"):
        torch.testing.assert_close(value(index, side), alone, rtol=TOLERANCE, atol=TOLERANCE)


def test_residual_loss_ignores_padding(model, examples):
    loss, encoded = ContrastiveSquaredError(), encode(model, examples)
    found = {}
    for side in ("left", "right"):
        batch = batch_of(encoded, range(len(encoded)), loss.sides, padding_side=side)
        found[side] = loss(residuals(model, batch.tokens, batch.attention_mask, [1])[0][1], batch)
    torch.testing.assert_close(found["left"], found["right"], rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("positions", ["prompt", "last_prompt", (-3, -1), "all"])
@pytest.mark.parametrize("method", [DiffMean(), ColdJVP()], ids=lambda method: method.label)
def test_steered_logits_ignore_padding(model, examples, method, positions):
    steering = method.fit(model, examples)

    def logits(tokens: Tensor, mask: Tensor) -> Tensor:
        with steering.apply(model, layer=1, eta=0.7, positions=positions), torch.no_grad():
            return model(tokens, attention_mask=mask.long())

    for side in ("left", "right"):
        tokens, mask = pad(SEQUENCES, side=side)
        together = logits(tokens, mask)
        for row, ids in enumerate(SEQUENCES):
            single = logits(*pad([ids]))[0]
            assert _error(together[row, mask[row]], single) < TOLERANCE


def test_readings_do_not_depend_on_the_company(model, examples: ExampleSet):
    steering = ColdJVP().fit(model, examples)
    prompts = ["red", "the cat asks you to help a dog in the house of stone", "one two three"]
    together = steering.readings(prompts)
    for place, prompt in enumerate(prompts):
        assert _error(together[:, place], steering.readings([prompt])[:, 0]) < TOLERANCE
        last = steering.displacement(prompt)[2][0, -1]
        assert _error(together[2, place], last) < TOLERANCE
