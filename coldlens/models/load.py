"""`load_model`: a bridge from a name, a folder, or a model that was booted already."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from transformer_lens.model_bridge import TransformerBridge

from coldlens import demo
from coldlens.errors import ArgumentError, ModelError, ModelTypeError
from coldlens.models.guards import require_decoder
from coldlens.models.unfit import unfit_weights


def load_model(
    source: str | Path | TransformerBridge,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> TransformerBridge:
    """Loads a causal decoder as a `TransformerBridge` with raw Hugging Face numerics.

    Args:
        source: `"demo"` (the bundled model), a folder in Hugging Face layout, a Hugging Face id
            such as `"gpt2"`, or a `TransformerBridge`, which is checked and returned as it is.
        device: Where the weights go; None lets TransformerLens choose. Ignored for a bridge.
        dtype: Dtype of the weights. Ignored for a bridge.

    Returns:
        The model, in evaluation mode unless the caller's own bridge is not.

    Raises:
        ModelTypeError: If it is none of these.
        ArgumentError: If the dtype is none, or there is no such device.
        ModelError: If there is no such model, a folder has no model or no tokenizer, a file of them
            is damaged, the weights do not fit the configuration, or the architecture is not a
            causal decoder.
    """
    if isinstance(source, TransformerBridge):
        require_decoder(source)
        return source
    if not isinstance(source, str | Path):
        raise ModelTypeError(
            expected='"demo", a folder, a Hugging Face id, or a TransformerBridge',
            found=f"{type(source).__module__}.{type(source).__qualname__}",
            fix="Save a Hugging Face model with save_pretrained, or boot it with TransformerBridge",
        )
    if not isinstance(dtype, torch.dtype):
        raise ArgumentError(
            expected="dtype, a torch.dtype", found=f"dtype = {dtype!r}", fix="Pass torch.float32"
        )
    if device is not None:
        _check_device(device)
    name = str(demo.WEIGHTS) if source == "demo" else os.path.expanduser(str(source))
    if source == "demo" or isinstance(source, Path) or _looks_like_path(name):
        _check_folder(Path(name))
    with unfit_weights() as unfit:
        try:
            model = TransformerBridge.boot_transformers(name, device=device, dtype=dtype)
        except Exception as error:  # of any kind, from weights, tokenizer or configuration
            reason = f"whose {_first(unfit)}" if unfit else _reason(error)
            raise ModelError(
                expected='"demo", a folder in Hugging Face layout, or the id of a causal decoder '
                "that TransformerLens knows",
                found=f"{name!r}, which could not be loaded ({reason})",
                fix="Check the name, and that weights, tokenizer and configuration are whole and "
                "belong together; without a network give a folder, see save_pretrained",
            ) from error
    if unfit:
        raise ModelError(
            expected="all weights that the configuration asks for",
            found=f"{name!r}, whose {_first(unfit)}",
            fix="Check that config.json belongs to the weights: missing ones are random numbers",
        )
    require_decoder(model)
    return model


def model_id(model: TransformerBridge) -> str:
    """Names a model without its place on the disk: `"demo"`, a folder's name, or a hub id.

    Args:
        model: The model.

    Returns:
        The name.
    """
    name = str(model.cfg.model_name)
    if name == str(demo.WEIGHTS):
        return "demo"
    return Path(name).name if Path(name).is_dir() else name


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", os.sep)) or name.endswith(os.sep) or Path(name).exists()


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]


def _first(unfit: Sequence[str]) -> str:
    return min(unfit) + (f", of {len(unfit)} such weights" if unfit[1:] else "")


def _check_device(device: str | torch.device) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ArgumentError(
            expected="device, one that torch can use here, or None",
            found=f"device = {device!r} ({_reason(error)})",
            fix='Pass "cpu", or "cuda" where torch.cuda.is_available()',
        ) from error


def _check_folder(folder: Path) -> None:
    for required in ("config.json", "tokenizer_config.json"):
        if not (folder / required).is_file():
            raise ModelError(
                expected=f"a folder in Hugging Face layout with {required}",
                found=f"no such file in {folder}"
                if folder.is_dir()
                else f"{'the file' if folder.exists() else 'no folder'} {folder}",
                fix="Give the folder that it lies in; if the id of a model is meant, rename the "
                "file, which transformers would read instead"
                if folder.is_file()
                else "Save model and tokenizer there with save_pretrained, or give a model's id",
            )
