"""Tiny random-weight models, one per supported architecture, built without any download."""

import atexit
import shutil
import tempfile
import warnings
from functools import cache
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformer_lens.model_bridge import TransformerBridge
from transformers import PreTrainedTokenizerFast

WORDS = [
    *"<unk> <s> </s> <pad>".split(),
    *"the a user asks you to help hide stay go yes no never always maybe please".split(),
    *"question answer : ? . , ( ) A B Input Response Question Answer Choices".split(),
    *"red blue green one two three four cat dog bird tree house river stone".split(),
]

_COMMON = dict(
    vocab_size=len(WORDS),
    hidden_size=16,
    num_hidden_layers=3,
    num_attention_heads=4,
    max_position_embeddings=64,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=3,
)
_GATED = dict(_COMMON, intermediate_size=32, num_key_value_heads=2)
_GEMMA = dict(_GATED, head_dim=4, query_pre_attn_scalar=4, sliding_window=7)

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", _GATED),
    "mistral": ("Mistral", dict(_GATED, sliding_window=7)),
    "qwen2": ("Qwen2", dict(_GATED, tie_word_embeddings=True)),
    "qwen3": ("Qwen3", dict(_GATED, head_dim=4)),
    "gemma2": ("Gemma2", _GEMMA),
    "gemma3": ("Gemma3Text", _GEMMA),
    "gpt2": (
        "GPT2",
        dict(
            vocab_size=len(WORDS),
            n_embd=16,
            n_layer=3,
            n_head=4,
            n_positions=64,
            bos_token_id=1,
            eos_token_id=2,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        ),
    ),
    "neox": ("GPTNeoX", dict(_COMMON, intermediate_size=32)),
    "phi3": ("Phi3", dict(_GATED)),
}
"""Architecture name to (class stem in transformers, configuration).

Sliding windows are shorter than the sequences of the tests, so that they matter.
"""

WILD = 0.3
"""Standard deviation of weights at which nothing is nearly linear: for exact comparisons."""


@cache
def tokenizer_folder() -> str:
    """Writes a word-level tokenizer over `WORDS` that prepends a BOS token; returns its folder."""
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    folder = tempfile.mkdtemp(prefix="coldlens-tokenizer-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    special = dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>")
    PreTrainedTokenizerFast(tokenizer_object=core, **special).save_pretrained(folder)
    return folder


def tokenizer() -> PreTrainedTokenizerFast:
    """Returns a fresh copy of the test tokenizer."""
    return PreTrainedTokenizerFast.from_pretrained(tokenizer_folder())


def hf_model(name: str, seed: int = 0, std: float = WILD) -> Any:
    """Builds a tiny random Hugging Face model.

    Args:
        name: A key of `CONFIGS`.
        seed: Seed of the weights.
        std: Standard deviation of the weight matrices; norm weights vary by 0.1 around theirs.

    Returns:
        The model in evaluation mode, float32.
    """
    stem, settings = CONFIGS[name]
    config = getattr(transformers, f"{stem}Config")(**settings)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                noise = torch.randn_like(parameter)
                parameter.copy_(std * noise if parameter.ndim > 1 else parameter + 0.1 * noise)
    config.architectures = [type(model).__name__]
    return model


def bridge(
    name: str,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    *,
    rounded_to: torch.dtype | None = None,
    **kwargs: Any,
) -> TransformerBridge:
    """Boots a tiny random model as a TransformerBridge.

    Args:
        name: A key of `CONFIGS`.
        seed: Seed of the weights.
        dtype: Weight dtype.
        rounded_to: A dtype through which the weights pass first, so that a float32 model can
            have exactly the weights of a bfloat16 one.
        **kwargs: Passed to `hf_model`.

    Returns:
        The bridge, in evaluation mode.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = hf_model(name, seed, **kwargs).to(rounded_to or dtype).to(dtype)
        return TransformerBridge.boot_transformers(
            f"tiny-{name}", hf_model=model, tokenizer=tokenizer(), device="cpu", dtype=dtype
        )
