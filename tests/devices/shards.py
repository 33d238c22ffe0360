"""Tiny models on one device, and the same ones in other places."""

from functools import cache

import torch
import zoo
from accelerate import dispatch_model
from devices.boot import booted
from devices.elsewhere import CPU, ELSEWHERE
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
