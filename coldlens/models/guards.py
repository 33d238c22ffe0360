"""Checks on a model, each with a message that says what was found and what to call."""

import operator
from collections.abc import Iterable, Sequence
from typing import Any, SupportsIndex

import torch
from transformer_lens.model_bridge import TransformerBridge

from coldlens.checks import is_whole
from coldlens.errors import ArgumentError, ModelError, ModelTypeError
from coldlens.models.offload import out_of_reach

Layers = SupportsIndex | Sequence[SupportsIndex] | None
"""One 0-based block, several, or None for all; negative ones count from the last."""


def require_bridge(model: Any) -> None:
    """Checks that something is a model at all.

    Args:
        model: What was given.

    Raises:
        ModelTypeError: If it is not a `TransformerBridge`.
    """
    if not isinstance(model, TransformerBridge):
        raise ModelTypeError(
            expected="a TransformerBridge",
            found=f"{type(model).__module__}.{type(model).__qualname__}",
            fix="Boot the model with coldlens.load_model(name_or_folder)",
        )


def require_decoder(model: TransformerBridge) -> None:
    """Checks that the model is a causal decoder with a residual stream at every block.

    Args:
        model: The model to check.

    Raises:
        ModelError: If it is not a causal decoder with `blocks.{l}.hook_resid_post`, or weights have
            no values.
    """
    require_bridge(model)
    causal = getattr(model.cfg, "attention_dir", "causal") == "causal"
    if not (causal and model.adapter.supports_causal_loss and hasattr(model, "blocks")):
        raise ModelError(
            expected="a causal decoder with a stack of residual blocks",
            found=f"architecture {model.cfg.architecture!r}",
            fix="Use a decoder-only language model such as Llama, Gemma or GPT-2",
        )
    lost = out_of_reach(model)
    if lost:
        raise ModelError(
            expected="every weight on a device, or where its module finds it",
            found=f"{len(lost)} tensors without values, first {lost[0]}",
            fix="Offload each module by itself, without preload_module_classes",
        )
    missing = [
        layer for layer in (0, len(model.blocks) - 1) if hook_name(layer) not in model.hook_dict
    ]
    if missing:
        raise ModelError(
            expected=f"the hook point {hook_name(missing[0])}",
            found=f"an architecture without it: {model.cfg.architecture!r}",
            fix="Use a model whose blocks expose hook_resid_post",
        )


def require_eval(model: TransformerBridge) -> None:
    """Checks that no module is in training mode.

    Args:
        model: The model to check.

    Raises:
        ModelError: If a module is in training mode.
    """
    training = [
        name or "the model"
        for name, module in model.original_model.named_modules()
        if module.training
    ]
    if training:
        shown = ", ".join(training[:3]) + (", …" if len(training) > 3 else "")
        raise ModelError(
            expected="every module in evaluation mode",
            found=f"training mode at {shown}",
            fix="Call model.eval() first",
        )


def require_raw(model: TransformerBridge, what: str) -> None:
    """Checks that the weights are the ones the model was trained with.

    Args:
        model: The model to check.
        what: The method that needs it, for the message.

    Raises:
        ModelError: If compatibility mode or weight processing changed the parameterisation.
    """
    if numerics(model) != "raw":
        raise ModelError(
            expected=f"raw numerics for {what}, which differentiates with respect to parameters",
            found="a bridge in compatibility mode, whose folded and centred weights are another "
            "parameterisation",
            fix="Boot the model again and do not call enable_compatibility_mode()",
        )


def require_eager(model: TransformerBridge, what: str) -> None:
    """Checks that attention has a forward-mode derivative.

    Args:
        model: The model to check.
        what: The method that needs it, for the message.

    Raises:
        ModelError: If the attention implementation is not `"eager"`.
    """
    found = getattr(model.original_model.config, "_attn_implementation", None)
    if found not in (None, "eager"):
        raise ModelError(
            expected=f'attention implementation "eager" for {what}, which uses forward-mode '
            "differentiation",
            found=f'"{found}", which has no forward-mode derivative',
            fix="Load the model with coldlens.load_model, or use ColdFD, which needs no derivative",
        )


def numerics(model: TransformerBridge) -> str:
    """Returns `"raw"`, or `"compatibility"` where the bridge folded or centred the weights."""
    return "compatibility" if model.compatibility_mode or model._weights_processed else "raw"


def hook_name(layer: int) -> str:
    """Returns the TransformerLens name of the residual stream after block `layer`."""
    return f"blocks.{layer}.hook_resid_post"


def resolve_layers(model: TransformerBridge, layers: Layers) -> tuple[int, ...]:
    """Turns a choice of layers into a sorted tuple of 0-based block indices.

    Args:
        model: The model.
        layers: One layer, several, or None for all. Negative ones count from the last block.

    Returns:
        The layers, ascending, each once.

    Raises:
        ArgumentError: If there is none.
    """
    count = len(model.blocks)
    if layers is None:
        return tuple(range(count))
    asked = [layers] if is_whole(layers) or not isinstance(layers, Iterable) else list(layers)
    if not asked:
        raise ArgumentError(
            expected="at least one layer", found="none", fix="Pass layers=None for all layers"
        )
    return tuple(sorted({resolve_layer(layer, count) for layer in asked}))


def resolve_layer(layer: Any, count: int) -> int:
    """Turns one layer into a 0-based block index.

    Args:
        layer: An integer of any type; negative ones count from the last block.
        count: The number of blocks.

    Returns:
        The index.

    Raises:
        ArgumentError: If it is no integer in range.
    """
    if not is_whole(layer) or not -count <= layer < count:
        raise ArgumentError(
            expected=f"layers between 0 and {count - 1} (0-based blocks)",
            found=f"layer {layer!r}",
            fix="Layer l is the output of block l, blocks.{l}.hook_resid_post",
        )
    return operator.index(layer) % count


def working_dtype(model: TransformerBridge) -> torch.dtype:
    """Returns the dtype in which statistics accumulate: float32, or float64 if the model is."""
    return torch.promote_types(next(model.original_model.parameters()).dtype, torch.float32)
