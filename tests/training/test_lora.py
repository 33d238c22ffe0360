"""LoRA through peft: a real fine-tuned model, and an untouched one."""

import sys

import pytest
import torch
import zoo

pytest.importorskip("peft", reason="needs peft: pip install 'coldlens[lora]'")

from exact.closeness import assert_close, relative_error

from coldlens.directions import LoRA
from coldlens.directions.lora import plain_copy
from coldlens.directions.trained import frozen
from coldlens.errors import ArgumentError, ModelError
from coldlens.examples.tokens import encode
from coldlens.losses import DPO, CrossEntropy
from coldlens.models.parameters import exchanged, parameters
from coldlens.references import parameter_change, run
from coldlens.references.difference import moved_copy
from coldlens.references.losses import example_loss
from coldlens.references.training import anchored_losses
from coldlens.steering.steering import Steering

METHOD = LoRA(rank=3, alpha=6, lr=0.01, epochs=3, batch_size=3)
IDS = (1, 30, 31, 32, 9)
DIRECT = ("attn", "attention", "mlp")


def mean_loss(model, examples, loss):
    with torch.no_grad():
        values = [example_loss(model, e, loss).value for e in encode(model, examples)]
    return torch.stack(values).mean().item()


@pytest.mark.parametrize("name", zoo.CONFIGS)
def test_the_loss_falls_on_a_real_model(name, examples):
    model = zoo.bridge(name, std=0.12)
    steering = METHOD.fit(model, examples)
    moved = moved_copy(model, steering.direction, 1.0)
    assert mean_loss(moved, examples, DPO()) < mean_loss(model, examples, DPO()) - 1e-4
    expected = parameter_change(model, moved, IDS)
    found = steering.displacement(torch.tensor([IDS]))
    for layer, change in expected.items():
        assert_close(found[layer][0], change, 1e-4, f"difference at layer {layer}")
        assert change.norm() > 0


@pytest.mark.parametrize("name", ["llama", "gpt2", "neox", "phi3"])
def test_the_change_is_of_low_rank_and_of_all_linear_maps(name, examples):
    model = zoo.bridge(name, dtype=torch.float64)
    steering = METHOD.fit(model, examples)
    matrices = {key: value for key, value in steering.direction.items() if value.ndim == 2}
    own = {
        key
        for key, found in parameters(model).items()
        if found.tensor.ndim == 2 and any(part in key for part in DIRECT)
    }
    assert matrices.keys() == own
    for key, value in matrices.items():
        scores = torch.linalg.svdvals(value)
        assert scores[3] < 1e-9 * scores[0], key
    assert steering.direction.keys() == matrices.keys()


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
@pytest.mark.parametrize("reference", ["none", "self"])
def test_it_is_what_factors_on_the_bridges_own_weights_give(examples, reference):
    """The same initial A, order and Adam, with W + (α/r) B A exchanged into the bridge."""
    import peft

    model = zoo.bridge("llama", dtype=torch.float64)
    encoded, known = encode(model, examples), parameters(model)
    loss = DPO(beta=0.7, reference=reference)
    losses = anchored_losses(model, encoded, loss)
    method = LoRA(rank=3, alpha=6, lr=0.01, epochs=2, batch_size=3, seed=4, loss=loss)
    steering = method.fit(model, examples)
    plain = plain_copy(model, encoded[0].prompt)
    torch.manual_seed(4)
    config = peft.LoraConfig(r=3, lora_alpha=6, target_modules="all-linear")
    adapted = peft.get_peft_model(plain, config)
    pairs = {}
    for key, value in adapted.named_parameters():
        if "lora_" in key:
            name = key.removeprefix("base_model.model.").split(".lora_")[0] + ".weight"
            pairs.setdefault(name, []).append(value.detach().clone().requires_grad_())
    weights = [weight for pair in pairs.values() for weight in pair]
    optimiser = torch.optim.Adam(weights, lr=0.01)
    generator = torch.Generator().manual_seed(4)
    places = torch.randperm(6, generator=generator)
    for _ in range(2):
        for batch in places[torch.randperm(6, generator=generator)].split(3):
            values = {n: known[n].tensor.detach() + 2 * b @ a for n, (a, b) in pairs.items()}
            with exchanged(model, values):
                total = sum(losses[i](model) for i in batch) / 3
            for weight, gradient in zip(weights, torch.autograd.grad(total, weights), strict=True):
                weight.grad = gradient
            optimiser.step()
    assert steering.direction.keys() == pairs.keys()
    assert steering.provenance.loss == repr(loss)
    for name, (a, b) in pairs.items():
        assert_close(steering.direction[name], (2 * b @ a).detach(), 1e-9, name)


def test_the_model_stays_as_it_is(untouched, examples):
    steering = METHOD.fit(untouched, examples)
    steering.displacement(torch.tensor([IDS]))


def test_the_seed_decides(llama, examples):
    first, second = METHOD.fit(llama, examples), METHOD.fit(llama, examples)
    assert first.direction.keys() == second.direction.keys()
    assert all(torch.equal(value, second.direction[key]) for key, value in first.direction.items())
    other = LoRA(**{**METHOD.__dict__, "seed": 1}).fit(llama, examples)
    assert any(
        relative_error(other.direction[key], value) > 0.1 for key, value in first.direction.items()
    )


def test_an_early_stop_keeps_the_best_epoch(llama, examples, caplog):
    caplog.set_level("INFO", logger="coldlens.directions.lora")
    wild = dict(rank=3, lr=1.0, epochs=8, held_out=0.3, patience=2, loss=CrossEntropy())
    LoRA(**wild).fit(llama, examples)
    (record,) = caplog.records
    curve = record.args[1]
    validation = [value for _, value in curve if value == value]
    assert len(validation) < 8
    best = validation.index(min(validation))
    caplog.clear()
    full, short = LoRA(**wild), LoRA(**{**wild, "epochs": best + 1})
    first, second = full.fit(llama, examples), short.fit(llama, examples)
    assert all(torch.equal(value, second.direction[key]) for key, value in first.direction.items())


def test_half_precision_trains_in_single(examples):
    half = zoo.bridge("llama", dtype=torch.bfloat16, std=0.12)
    single = zoo.bridge("llama", rounded_to=torch.bfloat16, std=0.12)
    found, expected = METHOD.fit(half, examples), METHOD.fit(single, examples)
    for key, value in expected.direction.items():
        assert found.direction[key].dtype == torch.float32
        assert_close(found.direction[key], value, 1e-5, key)


def test_save_and_load(llama, examples, tmp_path):
    steering = METHOD.fit(llama, examples)
    steering.save(tmp_path / "a.safetensors")
    again = Steering.load(tmp_path / "a.safetensors", llama)
    ids = torch.tensor([IDS])
    assert torch.equal(again.displacement(ids)[1], steering.displacement(ids)[1])


def test_a_bridge_whose_copies_are_stale(examples):
    """GPT-2's bridge computes with q, k and v, and only keeps the fused map they came from."""
    model = zoo.bridge("gpt2")
    found = next(
        p.tensor for name, p in parameters(model).items() if name.endswith("0.attn.q.weight")
    )
    found.data = found.data * 3  # in place it would change the fused map too, which shares memory
    with pytest.raises(ModelError, match="a Hugging Face copy that computes what the bridge does"):
        METHOD.fit(model, examples)


def test_the_plain_copy_computes_the_same(examples):
    for name in zoo.CONFIGS:
        model = zoo.bridge(name, dtype=torch.float64)
        with frozen(model):
            copied = plain_copy(model, IDS)
        expected = run(model, IDS)[1]
        with torch.no_grad():
            found = copied.double()(torch.tensor([IDS])).logits[0]
        assert relative_error(found, expected) < 1e-6, name


@pytest.mark.parametrize("settings", [{"rank": 0}, {"alpha": 0.0}, {"lr": -1.0}, {"epochs": 0}])
def test_settings_out_of_range(settings):
    with pytest.raises(ArgumentError, match=f"{next(iter(settings))} >"):
        LoRA(**settings)


def test_without_peft(monkeypatch, llama, examples):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ArgumentError, match=r"pip install 'coldlens\[lora\]'"):
        METHOD.fit(llama, examples)
