"""DPO with the model itself as reference, over several steps: the reference stays at θ₀."""

import math

import pytest
import torch
import zoo
from exact.cases import INPUTS, data_of, layers_of, model_of
from exact.closeness import assert_close, assert_far

from coldlens.capture import Needs, collect
from coldlens.directions import ColdJVP, FineTune, ReFTMLP, ReFTVector
from coldlens.directions.anchored import AnchoredDPO, anchored
from coldlens.examples.batch import BOTH, batch_of
from coldlens.examples.tokens import encode
from coldlens.losses import DPO, CrossEntropy, sides_of
from coldlens.models.forward import residuals
from coldlens.references import (
    example_loss,
    jacobian_displacement,
    moved_copy,
    parameter_change,
    reft_mlp,
    reft_vector,
)
from coldlens.references.forward import named_parameters
from coldlens.references.training import added, anchored_losses

SELF = DPO(beta=1.0, reference="self")
SUMMED = DPO(beta=0.5, reference="self", normalize="sum")
IDS = INPUTS[1]
STEPS, LR = 3, 0.05
BOUND = 1e-10


@pytest.fixture(params=["llama", "gpt2", "gemma2"])
def name(request):
    return request.param


@pytest.fixture
def model(name):
    return model_of(name, torch.float64, std=0.12)


@pytest.fixture
def examples(name):
    return data_of(name, "paired")


def moving_losses(examples, loss):
    """The losses whose reference is the model as it is at each step."""
    return [lambda moved, e=e: example_loss(moved, e, loss).value for e in examples]


def descended(model, losses):
    """A copy of the model after plain steps of `torch.optim.SGD` on the mean of the losses."""
    moved = moved_copy(model, {}, 0.0)
    optimiser = torch.optim.SGD(list(named_parameters(moved).values()), lr=LR)
    for _ in range(STEPS):
        optimiser.zero_grad()
        sum(loss(moved) / len(losses) for loss in losses).backward()
        optimiser.step()
    return moved


@pytest.mark.parametrize("loss", [SELF, SUMMED], ids=["mean", "sum"])
def test_steps_of_descent(model, examples, loss):
    encoded, tokens = encode(model, examples), torch.tensor([IDS])
    trained = descended(model, anchored_losses(model, encoded, loss))
    moving = descended(model, moving_losses(encoded, loss))
    real = FineTune(STEPS, LR, loss).fit(model, examples, batch_size=3)
    mean = ColdJVP(loss, steps=STEPS, lr=LR).fit(model, examples, batch_size=3)
    assert real.provenance.loss == mean.provenance.loss == repr(loss)
    expected, other = (parameter_change(model, copy, IDS) for copy in (trained, moving))
    start, end = named_parameters(model), named_parameters(trained)
    path = {key: ((start[key] - end[key]) / (STEPS * LR)).detach() for key in start}
    found, linear, last = real.displacement(tokens), mean.displacement(tokens), [len(IDS) - 1]
    for layer in (0, layers_of(model)[-1]):
        assert_close(found[layer][0], expected[layer], BOUND, f"FineTune at layer {layer}")
        assert_far(found[layer][0], other[layer], 0.05, "a reference that moves along")
        tangent = jacobian_displacement(model, IDS, layer, path, positions=last)
        assert_close(linear[layer][0, last], tangent, BOUND, f"ColdJVP at layer {layer}")


def test_the_held_out_loss_of_a_vector(model, examples):
    encoded, layer, loss = encode(model, examples), 1, SELF
    method = ReFTVector(loss, lr=0.05, epochs=4, batch_size=2, held_out=0.25, seed=6, patience=4)
    steering = method.fit(model, examples, layers=layer)
    generator = torch.Generator().manual_seed(6)
    (held_out, *rest) = torch.randperm(4, generator=generator).tolist()
    losses, batches, curve = anchored_losses(model, encoded, loss), [], []
    for _ in range(4):
        order = [rest[place] for place in torch.randperm(3, generator=generator).tolist()]
        batches += [order[:2], order[2:]]
        vector = reft_vector(model, encoded, loss, layer, batches, lr=0.05)
        prompt = len(encoded[held_out].prompt)
        with torch.no_grad(), added(model, layer, prompt, "all", lambda _, v=vector: v):
            curve.append((losses[held_out](model), vector))
    values = torch.stack([value for value, _ in curve])
    assert_close(steering.losses[0, :, 1], values, BOUND, "losses of the held-out example")
    assert ((values - math.log(2)).abs() > 1e-3).all()
    best = curve[int(values.argmin())][1]
    assert_close(steering.vector(layer), best, BOUND, "the vector of the best epoch")


def test_a_network(model, examples):
    encoded, method = encode(model, examples), ReFTMLP(SELF, lr=0.02, batch_size=4, hidden=5)
    steering = method.fit(model, examples, layers=0)
    generator = torch.Generator().manual_seed(0)
    start = method.start(model.cfg.d_model, generator)
    trained = reft_mlp(model, encoded, SELF, 0, [range(4)] * 2, start, lr=0.02)
    for key, value in trained.items():
        assert_close(steering.weights[key][0], value, BOUND, key)
    assert steering.provenance.loss == repr(SELF)
    assert abs(steering.losses[0, 0, 0] - math.log(2)) < 1e-9
    assert steering.losses[0, 1, 0] < math.log(2) - 1e-3


def evidence_of(model, examples, loss=SELF):
    needs = Needs(gradients=frozenset({(loss, "all")}))
    return collect(model, examples, (0, 1), needs, batch_size=3)


@pytest.mark.parametrize("loss", [SELF, SUMMED], ids=["mean", "sum"])
def test_at_the_start_it_is_the_loss_itself(model, examples, loss):
    evidence = evidence_of(model, examples)
    kept = anchored(model, evidence, loss)
    assert isinstance(kept, AnchoredDPO)
    assert hash(kept) != hash(anchored(model, evidence, loss))
    assert sides_of(kept, examples) == BOTH
    assert "tensor" not in repr(kept)
    own, other = (evidence_of(model, examples, each).gradients for each in (loss, kept))
    assert_close(other[kept, "all"], own[loss, "all"], BOUND, "gradients")
    for index in ([0, 1, 2, 3], [3, 0], [2]):
        batch = batch_of(evidence.encoded, index, BOTH, padding_side="left")
        with torch.no_grad():
            logits = residuals(model, batch.tokens, batch.attention_mask, [], logits=True)[1]
        assert_close(kept(logits, batch), torch.full((len(index),), math.log(2)), 1e-7, "log 2")
        turned = batch_of(evidence.encoded, [1, *index[1:]], BOTH, padding_side="left")
        if index[0] != 1 and turned.tokens.shape == batch.tokens.shape:
            assert_far(kept(logits, turned), kept(logits, batch), 1e-6, "another's reference")


class _Halved(DPO):
    def __call__(self, logits, batch):
        return super().__call__(logits, batch) / 2


@pytest.mark.parametrize(
    "loss",
    [DPO(), CrossEntropy(), _Halved(reference="self"), lambda *_: 0],
    ids=lambda loss: type(loss).__name__,
)
def test_other_losses_are_left_alone(loss, llama):
    evidence = evidence_of(llama, data_of("llama", "paired"))
    assert anchored(llama, evidence, loss) is loss


def test_half_precision_is_anchored_in_single():
    half = zoo.bridge("llama", dtype=torch.bfloat16, std=0.12)
    single = zoo.bridge("llama", rounded_to=torch.bfloat16, std=0.12)
    examples, tokens = data_of("llama", "paired"), torch.tensor([IDS])
    kept = [AnchoredDPO.of(each, evidence_of(each, examples), SELF) for each in (half, single)]
    assert torch.equal(kept[0].reference, kept[1].reference)
    steerings = [FineTune(3, LR, SELF).fit(each, examples) for each in (half, single)]
    found, expected = (steering.displacement(tokens) for steering in steerings)
    for layer, displacement in expected.items():
        assert_close(found[layer], displacement, 1e-4, f"layer {layer}")


def test_the_model_stays_as_it_is(untouched):
    for method in (FineTune(2, LR, SELF), ReFTVector(SELF)):
        method.fit(untouched, data_of("llama", "paired"))
