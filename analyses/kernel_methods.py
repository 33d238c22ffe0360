"""Four ways to the same kernel blocks, and the random models on which they are compared.

Each takes a model and N sequences of one length and computes K_l(x, x′) of every pair of them, each
read at its last token, for the top layer l. K(x′, x) = K(x, x′)ᵀ follows from K(x, x′) in all but
`contraction`, which computes both.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from time import process_time
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    LlamaConfig,
    PretrainedConfig,
)

from analyses.measure import one_thread, peak_mb, reset_peak_mb
from coldlens import demo
from coldlens.examples.example import Example
from coldlens.examples.tokens import Ids
from coldlens.gradients import pushforward
from coldlens.kernels import EmpiricalNTK
from coldlens.models.forward import residuals
from coldlens.models.guards import working_dtype
from coldlens.models.parameters import accurate_parameters, exchanged

VOCABULARY = 64
"""Token ids that are drawn, and all that a Llama has."""

_RESOLVED_MB = 0.1  # less is below what systems count
_TINY = (32, 1, 4, 1)
_ROWS_AT_ONCE = 32  # the fastest of 4, 8, 16, 32 and 128 for Jacobians at d = 128

Blocks = dict[tuple[int, int], Float[Tensor, "row d"]]
"""By pair i ≤ j: the first rows of K(x_i, x_j), or all of them."""


@dataclass(frozen=True)
class Case:
    """A model with random weights and random sequences, the same each time.

    Attributes:
        d: Width.
        layers: Depth.
        tokens: Length T of each sequence.
        examples: Number N of sequences.
        architecture: `"llama"`: grouped queries, gated MLP, a vocabulary of 64; `"gpt2"`: the
            proportions and the vocabulary of GPT-2.
    """

    d: int
    layers: int
    tokens: int
    examples: int
    architecture: Literal["llama", "gpt2"] = "llama"

    def __str__(self) -> str:
        """Returns the sizes."""
        return f"d={self.d}, {self.layers} layers, {self.tokens} tokens, {self.examples} examples"

    def model(self, dtype: torch.dtype = torch.float32) -> TransformerBridge:
        """Returns the model, in evaluation mode."""
        config = self._config()
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            network = AutoModelForCausalLM.from_config(config).eval().to(dtype)
            config.architectures = [type(network).__name__]
            return TransformerBridge.boot_transformers(
                f"random-{self.architecture}",
                hf_model=network,
                tokenizer=AutoTokenizer.from_pretrained(demo.WEIGHTS),  # a bridge needs one
                device="cpu",
                dtype=dtype,
            )

    def sequences(self) -> list[Ids]:
        """Returns the token ids."""
        generator = torch.Generator().manual_seed(0)
        shape = (self.examples, self.tokens)
        drawn = torch.randint(VOCABULARY, shape, generator=generator)
        return [tuple(ids) for ids in drawn.tolist()]

    def _config(self) -> PretrainedConfig:
        if self.architecture == "gpt2":
            return GPT2Config(n_embd=self.d, n_layer=self.layers, n_head=self.d // 64)
        heads = max(2, self.d // 32)
        return LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=self.d,
            intermediate_size=8 * self.d // 3,
            num_hidden_layers=self.layers,
            num_attention_heads=heads,
            num_key_value_heads=heads // 2,
            max_position_embeddings=self.tokens + 1,
        )


def structured(model: TransformerBridge, sequences: Sequence[Ids], rows: int) -> Blocks:
    """Computes blocks with `EmpiricalNTK` as a user does, with its checks and its audit.

    Args:
        model: The model.
        sequences: Token ids.
        rows: Ignored: blocks are computed whole.

    Returns:
        The blocks.
    """
    examples = [Example(ids, (0,)) for ids in sequences]
    layer = len(model.blocks) - 1
    found = EmpiricalNTK(model, sequences, examples, layer).blocks(layer)
    return {(i, j): found[i, j] for i, j in _pairs(sequences)}


def contraction(model: TransformerBridge, sequences: Sequence[Ids], rows: int) -> Blocks:
    """Computes blocks by Jacobian contraction, the usual way: J Jᵀ, every ordered pair.

    Source: Novak, Sohl-Dickstein and Schoenholz 2022, "Fast Finite Width Neural Tangent Kernel",
    section 3.1; PyTorch's tutorial "Neural Tangent Kernels" does the same, a parameter at a time,
    which measured as long. K is symmetric, but neither makes use of it.

    Args:
        model: The model.
        sequences: Token ids.
        rows: Ignored: blocks are computed whole.

    Returns:
        The blocks of i ≤ j; the others are computed too.
    """
    jacobians = _jacobians(model, sequences)
    flat = jacobians.flatten(0, 1)
    whole = (flat @ flat.T).unflatten(0, jacobians.shape[:2]).unflatten(2, jacobians.shape[:2])
    return {(i, j): whole[i, :, j] for i, j in _pairs(sequences)}


def pairs_once(model: TransformerBridge, sequences: Sequence[Ids], rows: int) -> Blocks:
    """Computes blocks from the same Jacobians with one product for each unordered pair.

    Args:
        model: The model.
        sequences: Token ids.
        rows: Ignored: blocks are computed whole.

    Returns:
        The blocks.
    """
    jacobians = _jacobians(model, sequences)
    return {(i, j): jacobians[i] @ jacobians[j].T for i, j in _pairs(sequences)}


def products(model: TransformerBridge, sequences: Sequence[Ids], rows: int) -> Blocks:
    """Computes rows of blocks one by one: a reverse pass at x, a forward-mode pass at all x′.

    The graph of a reverse pass is kept for the next row.

    Args:
        model: The model.
        sequences: Token ids.
        rows: How many rows of each block; every one costs the same.

    Returns:
        Those rows.
    """
    layer, tokens = len(model.blocks) - 1, torch.tensor(sequences)
    mask = torch.ones_like(tokens, dtype=torch.bool)
    values = accurate_parameters(model, layer)
    leaves = {name: value.requires_grad_() for name, value in values.items()}
    found: dict[tuple[int, int], list[Tensor]] = {pair: [] for pair in _pairs(sequences)}
    for i, ids in enumerate(sequences):
        for entry in _end(model, leaves, ids, layer)[:rows]:
            grads = torch.autograd.grad(
                entry, list(leaves.values()), retain_graph=True, allow_unused=True
            )
            direction = {
                name: grad for name, grad in zip(leaves, grads, strict=True) if grad is not None
            }
            moved = pushforward(model, direction, tokens[i:], mask[i:], (layer,))[layer]
            for j, row in enumerate(moved[:, -1], start=i):
                found[i, j].append(row)
    return {pair: torch.stack(several) for pair, several in found.items()}


METHODS: dict[str, Callable[[TransformerBridge, Sequence[Ids], int], Blocks]] = {
    "structured": structured,
    "contraction": contraction,
    "pairs once": pairs_once,
    "products": products,
}
"""Every method by its name."""


def alone(case: Case, method: str, rows: int) -> dict[str, float]:
    """Runs one method once, for a process of its own.

    It runs on a tiny model first, so that what it imports on first use does not count.

    Args:
        case: The sizes.
        method: Its name.
        rows: Rows of each block, for `"products"`.

    Returns:
        `seconds` of process time; `peak_mb` beyond what the process held with the model loaded;
        `process_mb`, the peak of the whole process.
    """
    with one_thread():
        tiny = Case(*_TINY)
        METHODS[method](tiny.model(), tiny.sequences(), 1)
        model, sequences = case.model(), case.sequences()
        loaded, before, started = peak_mb(), reset_peak_mb(), process_time()
        METHODS[method](model, sequences, rows)
        seconds, after = process_time() - started, peak_mb()
    added = max(after - before, _RESOLVED_MB)
    return {
        "seconds": seconds,
        "peak_mb": added,
        "process_mb": max(loaded, after),
    }


def _pairs(sequences: Sequence[Ids]) -> list[tuple[int, int]]:
    return list(combinations_with_replacement(range(len(sequences)), 2))


def _jacobians(
    model: TransformerBridge, sequences: Sequence[Ids]
) -> Float[Tensor, "sequence d parameter"]:
    """Returns J_l(x) of every sequence at its last token: `vmap` over reverse passes.

    Rows are written straight into one tensor for all sequences, so that nothing is held twice.
    """
    layer, dtype = len(model.blocks) - 1, working_dtype(model)
    basis = torch.eye(model.cfg.d_model, dtype=dtype)
    values = accurate_parameters(model, layer)
    entries = sum(value.numel() for value in values.values())
    jacobians = torch.empty(len(sequences), len(basis), entries, dtype=dtype)
    for ids, jacobian in zip(sequences, jacobians, strict=True):

        def read(chosen: dict[str, Tensor], ids: Ids = ids) -> Tensor:
            return _end(model, chosen, ids, layer)

        _, pull, *_ = torch.func.vjp(read, values)
        parts = zip(basis.split(_ROWS_AT_ONCE), jacobian.split(_ROWS_AT_ONCE), strict=True)
        for cotangents, out in parts:
            (found,) = torch.vmap(pull)(cotangents)
            torch.cat([part.flatten(1) for part in found.values()], 1, out=out)
    return jacobians


def _end(
    model: TransformerBridge, values: dict[str, Tensor], ids: Ids, layer: int
) -> Float[Tensor, " d"]:
    """Returns Z_l(x) at the last token, with other values of the parameters."""
    tokens = torch.tensor([ids])
    mask = torch.ones_like(tokens, dtype=torch.bool)
    with exchanged(model, values):
        return residuals(model, tokens, mask, (layer,))[0][layer][0, -1]
