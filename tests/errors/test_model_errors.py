"""Errors about the model: its kind, its mode, its numerics, its weights."""

import json
import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import zoo
from accelerate import cpu_offload
from transformer_lens.model_bridge import TransformerBridge

from coldlens.directions import ColdFD, ColdJVP, ColdKernel, DiffMean, FineTune
from coldlens.errors import ModelError, ModelTypeError, NumericsError
from coldlens.models.guards import numerics, require_decoder
from coldlens.models.load import load_model
from coldlens.models.unfit import unfit_weights


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


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    zoo.tokenizer().save_pretrained(folder)
    zoo.hf_model("llama").save_pretrained(folder)
    return folder


def _damaged(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def _no_words(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


def _configured(folder: Path, **changes: int) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _wider(folder: Path) -> None:
    _configured(folder, intermediate_size=48)


def _deeper(folder: Path) -> None:
    _configured(folder, num_hidden_layers=4)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (_damaged, r"could not be loaded \(SafetensorError: .*\). Check the name, and that"),
        (_no_words, r"could not be loaded \(KeyError: 'added_tokens'\). .* tokenizer and conf"),
        (_wider, r"whose model.layers.{0, 1, 2}.mlp.down_proj.weight has another shape in its "
         r"files, of 3 such weights\). Check"),
        (_deeper, r"all weights that the configuration asks for; found '.*tiny', whose "
         r"model.layers.3.input_layernorm.weight is not in its files, of 9 such weights. Check"),
    ],
    ids=["damaged", "no words", "wider", "deeper"],
)  # fmt: skip
def test_files_that_do_not_fit_together(whole, tmp_path, damage, text):
    folder = tmp_path / "tiny"
    shutil.copytree(whole, folder)
    damage(folder)
    with pytest.raises(ModelError, match=text) as raised:
        load_model(folder, device="cpu")
    assert damage is _deeper or raised.value.__cause__ is not None
    load_model(whole, device="cpu")


def test_what_loading_reports_stays_silent(whole, caplog):
    logger = logging.getLogger("transformers.modeling_utils")
    before = logger.level, list(logger.filters)
    load_model(whole, device="cpu")
    assert (logger.level, logger.filters) == before
    with unfit_weights() as found:
        logger.warning(REPORT.format("embed.weight"))
    assert found == ["embed.weight is not in its files"]
    assert not caplog.records


REPORT = "Key | Status\n{}     | MISSING | \nother | UNEXPECTED |"


@pytest.fixture(params=["disable", "disabled", "level"])
def silenced(request):
    """The ways in which a caller keeps a logger silent."""
    logger = logging.getLogger("transformers.modeling_utils")
    before = logger.level, logger.disabled, logger.manager.disable
    if request.param == "disable":
        logging.disable(logging.WARNING)
    elif request.param == "disabled":
        logger.disabled = True
    else:
        logger.setLevel(logging.CRITICAL)
    yield
    logger.level, logger.disabled = before[:2]
    logging.disable(before[2])


def test_missing_weights_are_noticed_where_logging_is_silenced(whole, tmp_path, silenced, caplog):
    folder = tmp_path / "tiny"
    shutil.copytree(whole, folder)
    _deeper(folder)
    logger = logging.getLogger("transformers.modeling_utils")
    before = logger.level, logger.disabled, logger.manager.disable, vars(logger).keys()
    with pytest.raises(ModelError, match="is not in its files, of 9 such weights"):
        load_model(folder, device="cpu")
    assert (logger.level, logger.disabled, logger.manager.disable, vars(logger).keys()) == before
    with unfit_weights() as found:
        logger.warning(REPORT.format("weight"))
        if logger.manager.disable:
            logging.getLogger("another").warning("not wanted")
    assert found == ["weight is not in its files"]
    assert not caplog.records


def test_another_threads_report_is_not_read():
    logger = logging.getLogger("transformers.modeling_utils")
    with unfit_weights() as found, ThreadPoolExecutor(1) as other:
        other.submit(logger.warning, REPORT.format("theirs")).result()
        logger.warning(REPORT.format("ours"))
    assert found == ["ours is not in its files"]


def test_a_file_is_no_model(whole, tmp_path, monkeypatch):
    (tmp_path / "gpt2").touch()
    monkeypatch.chdir(tmp_path)
    for path in (whole / "config.json", str(whole / "model.safetensors"), "gpt2"):
        with pytest.raises(
            ModelError, match=rf"found the file {path}\. .* if the id of a model .* rename the file"
        ):
            load_model(path)


@pytest.mark.parametrize("path", ["./nothing-here", "/nothing/here", "nothing/here/"])
def test_no_such_folder(path):
    with pytest.raises(
        ModelError, match=r"found no folder .*nothing.here. Save model and tokenize"
    ):
        load_model(path)
