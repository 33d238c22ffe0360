"""Errors about the model: its kind, its mode, its numerics, its weights."""

import pytest
import torch
import zoo
from accelerate import cpu_offload
from transformer_lens.model_bridge import TransformerBridge

from coldlens.directions import ColdFD, ColdJVP, ColdKernel, DiffMean, FineTune
from coldlens.errors import ModelError, ModelTypeError, NumericsError
from coldlens.models.guards import numerics, require_decoder
from coldlens.models.load import load_model


def test_not_a_bridge():
    model = zoo.hf_model("llama")
    with pytest.raises(
        ModelTypeError,
        match=r"a TransformerBridge; found transformers.*LlamaForCausalLM. Boot the model with",
    ):
        require_decoder.__wrapped__(model)


@pytest.mark.parametrize("method", [DiffMean(), ColdJVP()], ids=lambda method: method.label)
def test_training_mode(examples, method):
    model = zoo.bridge("llama")
    model.original_model.model.layers[1].mlp.train()
    with pytest.raises(
        ModelError,
        match=r"every module in evaluation mode; found training mode at .*layers.1.*mlp.*, …. "
        r"Call model.eval\(\) first",
    ):
        method.fit(model, examples)


def test_offloaded_weights():
    """Those that are not loaded with the module that holds them."""
    network = zoo.hf_model("llama")
    cpu_offload(network, torch.device("cpu"), preload_module_classes=["LlamaMLP"])
    model = TransformerBridge.boot_transformers(
        "tiny", hf_model=network, tokenizer=zoo.tokenizer(), dtype=torch.float32
    )
    with pytest.raises(
        ModelError,
        match=r"every weight on a device, .*; found 9 tensors without values, first "
        r"model.layers.0.mlp.gate_proj.weight. Offload each module by itself",
    ):
        load_model(model)


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_compatibility_mode(examples, architecture):
    model = zoo.bridge(architecture)
    assert numerics(model) == "raw"
    model.enable_compatibility_mode(disable_warnings=True)
    assert numerics(model) == "compatibility"
    for method in (ColdFD(), ColdJVP(), FineTune()):
        with pytest.raises(
            ModelError,
            match=f"raw numerics for {type(method).__name__}, .* found a bridge in compatibility "
            "mode, .* Boot the model again",
        ):
            method.fit(model, examples)
    for method in (DiffMean(), ColdKernel()):
        assert method.fit(model, examples).provenance.numerics == "compatibility"


def test_attention_without_a_forward_mode_derivative(examples):
    model = zoo.bridge("llama")
    model.original_model.config._attn_implementation = "sdpa"
    with pytest.raises(
        ModelError,
        match=r'attention implementation "eager" for ColdJVP, .*; found "sdpa", .* or use ColdFD',
    ):
        ColdJVP().fit(model, examples)
    model.original_model.config._attn_implementation = "eager"
    ColdJVP().fit(model, examples)


@pytest.mark.parametrize(
    ("method", "text"),
    [
        (DiffMean(), "finite activations; found inf or nan at layer 1, example 0. Check the"),
        (ColdKernel(), "finite gradients; found inf or nan at layer 0|a finite .* loss; found nan"),
        (ColdJVP(), "a finite DPO.* loss; found nan at example 0"),
        (ColdFD(), "a finite DPO.* loss; found nan at example 0"),
    ],
    ids=lambda value: getattr(value, "label", ""),
)
def test_values_that_are_not_finite(examples, method, text):
    model = zoo.bridge("llama")
    weights = dict(model.original_model.named_parameters())
    name = next(name for name in weights if "layers.1" in name and "down_proj" in name)
    with torch.no_grad():
        weights[name][0, 0] = float("nan")
    with pytest.raises(NumericsError, match=text):
        method.fit(model, examples)


@pytest.mark.parametrize("missing", ["config.json", "tokenizer_config.json"])
def test_a_folder_without_model_or_tokenizer(tmp_path, missing):
    zoo.tokenizer().save_pretrained(tmp_path)
    zoo.hf_model("llama").save_pretrained(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(
        ModelError, match=f"Hugging Face layout with {missing}; found no such file in .*save_pretr"
    ):
        load_model(tmp_path)


@pytest.mark.parametrize("path", ["./nothing-here", "/nothing/here"])
def test_no_such_folder(path):
    with pytest.raises(
        ModelError, match=r"found no folder .*nothing.here. Save model and tokenize"
    ):
        load_model(path)
