"""What all trained interventions share: seeds, early stop, an untouched model, files, reports."""

import math

import pytest
import torch
import zoo

from coldlens.compare.compare import compare_directions
from coldlens.directions import BiPO, ReFTMLP, ReFTVector
from coldlens.errors import ArgumentError, ExampleError, NumericsError
from coldlens.examples.example import Example
from coldlens.losses import ContrastiveSquaredError, CrossEntropy
from coldlens.steering.steering import Steering

METHODS = {
    "vector": ReFTVector(lr=0.05, batch_size=2),
    "mlp": ReFTMLP(lr=0.05, batch_size=2, hidden=4),
    "bipo": BiPO(lr=0.05, epochs=2, batch_size=2, warmup=2),
}
IDS = torch.tensor([[1, 30, 31, 32], [1, 6, 7, 8]])


@pytest.fixture(params=METHODS)
def method(request):
    return METHODS[request.param]


def tensors(steering):
    return torch.cat([value.flatten() for value in steering.tensors().values()]).nan_to_num(-1.0)


def with_settings(method, **settings):
    return type(method)(**{**method.__dict__, **settings})


def test_the_model_stays_as_it_is(method, untouched, examples):
    steering = method.fit(untouched, examples)
    with steering.apply(untouched, layer=[0, 2], eta=0.5):
        untouched(IDS)
    steering.displacement(IDS)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_trains_in_any_mode(method, llama, examples, mode):
    expected = tensors(method.fit(llama, examples))
    with mode():
        assert torch.equal(tensors(method.fit(llama, examples)), expected)


def test_the_seed_decides(method, llama, examples):
    first = tensors(method.fit(llama, examples))
    torch.rand(5)
    assert torch.equal(first, tensors(method.fit(llama, examples)))
    apart = tensors(method.fit(llama, examples, batch_size=1))  # of the pass before the training
    assert torch.allclose(first, apart, rtol=1e-4, atol=1e-6)
    other = tensors(with_settings(method, seed=1).fit(llama, examples))
    assert not torch.allclose(first, other, rtol=1e-3)


def test_layers_are_trained_alone(method, llama, examples):
    together, alone = method.fit(llama, examples), method.fit(llama, examples, layers=1)
    for place in range(len(IDS)):
        row = IDS[place : place + 1]
        assert torch.equal(together.displacement(row)[1], alone.displacement(row)[1])


def test_the_loss_falls(method, llama, examples):
    longer = with_settings(method, epochs=15, lr=0.04)
    losses = longer.fit(llama, examples).losses
    assert losses.shape == (3, 15, 2)
    assert losses[..., 1].isnan().all()
    assert (losses[:2, -5:, 0].mean(1) < losses[:2, 0, 0] - 1e-3).all()


def test_the_best_epoch_is_kept(method, llama, examples):
    """With so large a learning rate the held-out loss soon rises: training stops, and goes back."""
    wild = with_settings(method, lr=2.0, epochs=12, held_out=0.3, patience=2)
    steering = wild.fit(llama, examples)
    for place, layer in enumerate(steering.layers):
        validation = steering.losses[place, :, 1]
        run = int((~validation.isnan()).sum())
        best = int(validation[:run].argmin())
        assert run == min(12, best + 1 + 2)
        shorter = with_settings(wild, epochs=best + 1)
        if not isinstance(method, BiPO):  # whose schedule depends on the number of epochs
            again = shorter.fit(llama, examples, layers=layer)
            assert torch.equal(again.displacement(IDS)[layer], steering.displacement(IDS)[layer])
    assert any(steering.losses[place, -1, 0].isnan() for place in range(3))


def test_held_out_examples_are_not_trained_on(llama, examples):
    """Another completion of the held-out example changes its loss, not the vector."""
    method = ReFTVector(CrossEntropy(), held_out=0.1, epochs=1)
    place = torch.randperm(6, generator=torch.Generator().manual_seed(0))[0]
    changed = list(examples)
    changed[place] = Example(changed[place].prompt, " river stone", " two")
    first, second = method.fit(llama, examples), method.fit(llama, changed)
    assert torch.allclose(first.vectors, second.vectors, rtol=1e-5, atol=1e-9)
    assert torch.allclose(first.losses[..., 0], second.losses[..., 0])
    assert not torch.allclose(first.losses[..., 1], second.losses[..., 1])


def test_save_and_load(method, llama, examples, tmp_path):
    steering = method.fit(llama, examples)
    steering.save(tmp_path / "a.safetensors")
    again = Steering.load(tmp_path / "a.safetensors", llama)
    assert type(again) is type(steering)
    assert torch.equal(tensors(again), tensors(steering))
    assert again.provenance == steering.provenance
    for layer, found in again.displacement(IDS).items():
        assert torch.equal(found, steering.displacement(IDS)[layer])


def test_steering_with_the_trained_intervention_lowers_the_loss(llama, examples):
    """At eta = 1 and the trained positions it is the intervention that was trained."""
    loss = CrossEntropy()
    prompts = [Example(e.prompt, e.positive) for e in examples]
    for method in (ReFTVector, ReFTMLP):
        steering = method(loss, lr=0.05, epochs=20, positions="prompt").fit(llama, prompts)
        before = loss_of(llama, steering, prompts, 0.0)
        after = loss_of(llama, steering, prompts, 1.0)
        assert after < before - 0.1


def loss_of(model, steering, examples, eta):
    """Mean negative log-probability of the first answer token, steered in the prompt."""
    total = 0.0
    for example in examples:
        tokens = torch.tensor([model.tokenizer(example.prompt).input_ids])
        answer = model.tokenizer(example.positive, add_special_tokens=False).input_ids[0]
        with torch.no_grad(), steering.apply(model, layer=1, eta=eta):
            total -= model(tokens)[0, -1].log_softmax(-1)[answer].item()
    return total / len(examples)


def test_several_layers_of_networks_see_each_other(llama, examples):
    steering = METHODS["mlp"].fit(llama, examples)
    points = [f"blocks.{layer}.hook_resid_post" for layer in (0, 1)]
    plain = llama.run_with_cache(IDS, names_filter=points)[1]
    with steering.apply(llama, layer=[0, 1], positions="all"):
        steered = {}
        handle = llama.hook_dict[points[1]].register_forward_hook(
            lambda _module, _inputs, output: steered.update(found=output.detach().clone())
        )
        llama(IDS)
        handle.remove()
    first = steering.displacement(IDS)
    assert not torch.allclose(steered["found"], plain[points[1]] + first[1], atol=1e-3)


def test_half_precision_trains_in_single(method, examples):
    half = zoo.bridge("llama", dtype=torch.bfloat16, std=0.12)
    single = zoo.bridge("llama", rounded_to=torch.bfloat16, std=0.12)
    found, expected = method.fit(half, examples), method.fit(single, examples)
    assert torch.equal(tensors(found), tensors(expected))
    assert found.displacement(IDS)[1].dtype == torch.float32


def test_a_report_with_trained_directions(llama, examples):
    report = compare_directions(llama, examples, methods=[*METHODS.values(), "ColdJVP"])
    assert report.table["norm"].gt(0).all()
    assert set(report.table["method"]) == {m.label for m in METHODS.values()} | {"ColdJVP"}


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"lr": 0.0}, "lr > 0"),
        ({"epochs": 0}, "epochs >= 1, an integer"),
        ({"batch_size": -1}, "batch_size >= 1"),
        ({"patience": 0}, "patience >= 1"),
        ({"held_out": 1.0}, "held_out < 1"),
        ({"held_out": -0.1}, "held_out"),
        ({"held_out": math.nan}, "held_out"),
        ({"positions": "nowhere"}, "positions among"),
    ],
)
def test_settings_out_of_range(method, settings, text):
    error = ExampleError if "positions" in settings else ArgumentError
    with pytest.raises(error, match=text):
        with_settings(method, **settings)


def test_other_errors(llama, examples):
    with pytest.raises(ArgumentError, match="hidden > 0"):
        ReFTMLP(hidden=0)
    with pytest.raises(ArgumentError, match="beta > 0"):
        BiPO(beta=0.0)
    with pytest.raises(ArgumentError, match="a loss of the logits to train on"):
        ReFTVector(ContrastiveSquaredError()).fit(llama, examples)
    with pytest.raises(ExampleError, match="a negative completion in every example"):
        BiPO().fit(llama, [Example("red", " blue")])
    with pytest.raises(ArgumentError, match="an example to train on"):
        ReFTVector(held_out=0.5).fit(llama, examples[:1])


class _Diverges:
    """A loss that is finite in the pass before the training, and not after it."""

    def __init__(self):
        self.calls = 0

    def __call__(self, logits, batch):
        self.calls += 1
        return CrossEntropy()(logits, batch) * (1.0 if self.calls == 1 else math.inf)


def test_a_loss_that_is_not_finite(untouched, examples):
    with pytest.raises(NumericsError, match="a finite loss throughout the training; found inf in"):
        ReFTVector(_Diverges()).fit(untouched, examples)
