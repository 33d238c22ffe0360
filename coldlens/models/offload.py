"""Weights that accelerate keeps in memory or on a disk and loads when a module is called."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from coldlens.models.casting import Deferred


def device_of(module: nn.Module) -> torch.device:
    """Returns where a module computes, or the first part of it that has weights.

    Args:
        module: The module.

    Returns:
        The device of its first parameter, or the one that this is loaded to.
    """
    return next(
        on_use(part, name).device
        for part in module.modules()
        for name, parameter in part._parameters.items()
        if parameter is not None
    )


def on_use(module: nn.Module, attribute: str) -> Tensor:
    """Returns a module's parameter or buffer as one that is loaded for each operation.

    Args:
        module: The module.
        attribute: The parameter or buffer.

    Returns:
        The tensor itself where it is not offloaded, or nothing is known that loads it.
    """
    tensor = {**module._parameters, **module._buffers}[attribute]
    assert tensor is not None
    hook = next(filter(_loads, _hooks(module)), None)
    if hook is None or not tensor.is_meta:
        return tensor
    weights = hook.weights_map
    device = torch.device(hook.execution_device)
    return Deferred(lambda: weights[attribute], tensor.detach(), tensor.dtype, device)


def out_of_reach(model: TransformerBridge) -> list[str]:
    """Lists the parameters and buffers that are offloaded without being found again by `on_use`.

    Args:
        model: The model.

    Returns:
        Their names.
    """
    return [
        f"{path}.{name}".replace("._original_component", "")
        for path, module in model.original_model.named_modules()
        for name, tensor in [*module._parameters.items(), *module._buffers.items()]
        if tensor is not None and on_use(module, name).is_meta
    ]


@contextmanager
def nothing_loaded(model: TransformerBridge) -> Iterator[None]:
    """Keeps accelerate from loading weights, so that modules compute with what they hold.

    Offloaded buffers are loaded for each operation instead.

    Args:
        model: The model.

    Yields:
        Nothing.
    """
    modules = list(model.original_model.modules())
    hooks = [hook for module in modules for hook in _hooks(module) if _loads(hook)]
    buffers = [
        (module, name, buffer)
        for module in modules
        for name, buffer in module._buffers.items()
        if buffer is not None and buffer.is_meta
    ]
    try:
        for module, name, _ in buffers:
            module._buffers[name] = on_use(module, name)
        for hook in hooks:
            hook.offload = False
        yield
    finally:
        for module, name, buffer in buffers:
            module._buffers[name] = buffer
        for hook in hooks:
            hook.offload = True


def _hooks(module: nn.Module) -> list[Any]:
    # Not by `getattr`: a bridge answers for the module that it wraps.
    hook = module.__dict__.get("_hf_hook")
    return [] if hook is None else list(getattr(hook, "hooks", [hook]))


def _loads(hook: Any) -> bool:
    return getattr(hook, "offload", False) is True
