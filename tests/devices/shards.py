"""Tiny models on one device, and the same ones in other places."""

from functools import cache

import torch
import zoo
from accelerate import cpu_offload, dispatch_model
from devices.boot import booted
from devices.elsewhere import CPU, ELSEWHERE, TwoDevices
from torch import nn
from transformer_lens.model_bridge import TransformerBridge

FIRST = 1
"""The first block of a sharded model that is elsewhere."""


@cache
def whole(name: str, dtype: torch.dtype) -> TransformerBridge:
    """Returns a model on the CPU.

    Args:
        name: Its architecture.
        dtype: Dtype of its weights.

    Returns:
        The model.
    """
    return zoo.bridge(name, dtype=dtype)


@cache
def sharded(name: str, dtype: torch.dtype) -> TransformerBridge:
    """Returns the same model on two devices, as a `device_map` of Hugging Face shards it.

    The final norm is elsewhere, as is an unembedding that is not tied to the embedding.

    Args:
        name: Its architecture.
        dtype: Dtype of its weights.

    Returns:
        The model.
    """
    network = zoo.hf_model(name).to(dtype)
    tied = network.lm_head.weight is network.get_input_embeddings().weight
    places = {"lm_head": CPU if tied else ELSEWHERE}
    for child, part in network.base_model.named_children():
        path = f"{network.base_model_prefix}.{child}"
        if isinstance(part, nn.ModuleList):
            blocks = range(len(part))
            places |= {f"{path}.{at}": ELSEWHERE if at >= FIRST else CPU for at in blocks}
        else:
            places[path] = ELSEWHERE if child in ("norm", "ln_f") else CPU
    return booted(dispatch_model(network, places, main_device="cpu"))


@cache
def offloaded(name: str, dtype: torch.dtype) -> TransformerBridge:
    """Returns the same model, which computes elsewhere and has its weights on the CPU.

    Args:
        name: Its architecture.
        dtype: Dtype of its weights.

    Returns:
        The model.
    """
    model = booted(cpu_offload(zoo.hf_model(name).to(dtype), CPU))
    for module in model.original_model.modules():
        hook = module.__dict__.get("_hf_hook")
        if hook is not None and hook.offload:
            hook.execution_device = ELSEWHERE
        # Also what the bridge split from a fused map, which accelerate knows nothing of.
        for held in (module._parameters, module._buffers):
            with TwoDevices():
                here = {key: one for key, one in held.items() if one is not None}
                held |= {
                    k: one.detach().to(ELSEWHERE) for k, one in here.items() if not one.is_meta
                }
    return model


@cache
def far(layers: int) -> TransformerBridge:
    """Returns a Llama that is elsewhere altogether.

    Args:
        layers: Its depth.

    Returns:
        The model.
    """
    stem, settings = zoo.CONFIGS["llama"]
    zoo.CONFIGS["deep"] = (stem, {**settings, "num_hidden_layers": layers})
    return booted(zoo.hf_model("deep").to(ELSEWHERE))
