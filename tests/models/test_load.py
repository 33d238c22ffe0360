"""`load_model`: the model's own numbers, from a folder, the demo, or a bridge."""

from pathlib import Path

import pytest
import torch
import transformers
import zoo

from coldlens import demo
from coldlens.models.guards import numerics
from coldlens.models.load import load_model

IDS = torch.tensor([[1, 30, 31, 32, 5, 6, 7]])


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("kind", [str, Path])
def test_a_local_folder_gives_the_logits_of_transformers(tmp_path, architecture, kind):
    original = zoo.hf_model(architecture)
    original.save_pretrained(tmp_path)
    zoo.tokenizer().save_pretrained(tmp_path)
    model = load_model(kind(tmp_path), device="cpu")
    with torch.no_grad():
        expected, found = original(IDS).logits, model(IDS)
    assert (found - expected).norm() / expected.norm() < 1e-5
    assert not any(module.training for module in model.original_model.modules())
    assert numerics(model) == "raw"
    assert model.original_model.config._attn_implementation == "eager"


def test_a_folder_below_the_home_folder(tmp_path, monkeypatch):
    zoo.hf_model("llama").save_pretrained(tmp_path / "tiny")
    zoo.tokenizer().save_pretrained(tmp_path / "tiny")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_model("~/tiny", device="cpu").cfg.n_layers == 3


def test_dtype(tmp_path):
    zoo.hf_model("llama").save_pretrained(tmp_path)
    zoo.tokenizer().save_pretrained(tmp_path)
    model = load_model(tmp_path, device="cpu", dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.original_model.parameters()} == {torch.bfloat16}


def test_a_bridge_is_returned_as_it_is():
    model = zoo.bridge("llama").train()
    assert load_model(model) is model
    assert model.training


@pytest.mark.skipif(not (demo.WEIGHTS / "config.json").is_file(), reason="no demo weights")
def test_the_demo():
    model = load_model("demo", device="cpu")
    original = transformers.AutoModelForCausalLM.from_pretrained(demo.WEIGHTS).eval()
    ids = torch.tensor([[1, 5, 6, 7, 8]])
    with torch.no_grad():
        torch.testing.assert_close(model(ids), original(ids).logits, rtol=1e-5, atol=1e-4)
