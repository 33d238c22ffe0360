"""Bridges around tiny Hugging Face models that lie where they lie."""

import warnings

import zoo
from torch import nn
from transformer_lens.model_bridge import TransformerBridge


def booted(network: nn.Module) -> TransformerBridge:
    """Boots a tiny model.

    Args:
        network: The model.

    Returns:
        The bridge.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return TransformerBridge.boot_transformers(
            "tiny", hf_model=network, tokenizer=zoo.tokenizer(), dtype=network.dtype
        )
