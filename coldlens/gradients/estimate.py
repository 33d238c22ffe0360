"""What a gradient occupies in each form, before any work."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedConfig

from coldlens.checks import above_zero
from coldlens.gradients.maps import Call, LinearMap
from coldlens.gradients.record import recorded
from coldlens.models.linear import LINEAR_MAPS


@dataclass(frozen=True)
class Share:
    """What one weight adds, in numbers.

    Attributes:
        dense: Entries of the weight.
        products: Entries of its outer products, inputs that an earlier map read too left out.
        lookups: Entries of the rows that were looked up.
        rank: Entries of one outer product.
    """

    dense: int = 0
    products: int = 0
    lookups: int = 0
    rank: int = 0


@dataclass(frozen=True)
class Memory:
    """What the gradient of some parameters occupies, in bytes, beside weights and activations.

    Attributes:
        weights: What the weights of linear maps add, by name.
        others: Entries of all other parameters, which are tensors in every form.
        itemsize: Bytes of an entry.
    """

    weights: Mapping[str, Share]
    others: int
    itemsize: int

    @property
    def dense(self) -> int:
        """A tensor a parameter."""
        return self.itemsize * (self.others + sum(s.dense for s in self.weights.values()))

    @property
    def factored(self) -> int:
        """Inputs and output gradients of every token, at most: the last block has fewer."""
        return self._fixed + self.itemsize * sum(s.products for s in self.weights.values())

    def low_rank(self, rank: int) -> int:
        """Returns what `rank` outer products a matrix occupy; a fit keeps one batch in full too."""
        return self._fixed + rank * self._each

    @property
    def joining(self) -> int:
        """What the outer products of one weight take once more while batches are put together."""
        return self.itemsize * max((s.products + 3 * s.lookups for s in self._shares), default=0)

    @property
    def widest(self) -> int:
        """One outer product of the weight with the most inputs and outputs."""
        return self.itemsize * max((s.rank for s in self._shares), default=0)

    @property
    def largest(self) -> int:
        """The largest weight of a linear map that is no embedding, as a tensor."""
        return self.itemsize * max((s.dense for s in self._shares if not s.lookups), default=0)

    @property
    def _shares(self) -> Collection[Share]:
        return self.weights.values()

    @property
    def _fixed(self) -> int:
        return self.itemsize * (self.others + sum(s.lookups for s in self.weights.values()))

    @property
    def _each(self) -> int:
        return self.itemsize * sum(s.rank for s in self.weights.values())


def memory_of(
    calls: Iterable[Call],
    sizes: Mapping[str, int],
    tokens: int,
    predicting: int,
    itemsize: int,
) -> Memory:
    """Counts what the gradient occupies.

    Args:
        calls: Calls of the linear maps in one forward pass of the model.
        sizes: Entries of each parameter that the gradient covers.
        tokens: Tokens of all examples; a prompt that two completions share counts once, the last
            token of a completion, which no loss and no other token reads, does not.
        predicting: Those among them whose logits the loss reads.
        itemsize: Bytes of an entry.

    Returns:
        The memory.
    """
    called = [call for call in calls if call.place.name in sizes]
    embeddings = {c.place.name for c in called if isinstance(c.place.module, nn.Embedding)}
    read: set[tuple[object, ...]] = set()
    shares = {call.place.name: Share(dense=sizes[call.place.name]) for call in called}
    for call in called:
        name, outputs = call.place.name, call.output.shape[-1]
        old = shares[name]
        if isinstance(call.place.module, nn.Embedding):
            shares[name] = Share(old.dense, old.products, old.lookups + tokens * outputs, old.rank)
            continue
        inputs = call.inputs.shape[-1]
        # The unembedding of a tied weight acts where the loss reads logits.
        count = predicting if name in embeddings else tokens
        key = (call.inputs.untyped_storage()._cdata, call.inputs.storage_offset(), inputs)
        width = outputs + (0 if key in read else inputs)
        read.add(key)
        shares[name] = Share(old.dense, old.products + count * width, old.lookups, outputs + inputs)
    others = sum(size for name, size in sizes.items() if name not in shares)
    return Memory(shares, others, itemsize)


def gradient_memory(
    config: PreTrainedConfig,
    tokens: int,
    predicting: int,
    *,
    dtype: torch.dtype = torch.float32,
) -> Memory:
    """Says what a gradient of a model would occupy, without building its weights.

    Args:
        config: The model's configuration.
        tokens: Tokens of all examples together; a prompt that two completions share counts once,
            the last token of a completion does not.
        predicting: Those among them whose logits the loss reads: the tokens of the completions.
        dtype: The dtype of the gradient.

    Returns:
        The memory in every form, for all layers, beside weights and activations.
    """
    above_zero("tokens", tokens)
    above_zero("predicting", predicting)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
        ids = torch.zeros(1, 2, dtype=torch.long)
    names = {id(value): name for name, value in model.named_parameters()}
    sizes = {name: value.numel() for name, value in model.named_parameters()}
    unembedding = names[id(model.get_output_embeddings().weight)]
    if unembedding != names[id(model.get_input_embeddings().weight)]:
        del sizes[unembedding]
    maps = [
        LinearMap(names[id(module.weight)], module)
        for module in model.modules()
        if isinstance(module, LINEAR_MAPS)
    ]
    with torch.enable_grad(), recorded(maps) as calls:
        model(ids, attention_mask=torch.ones_like(ids), use_cache=False)
    return memory_of(calls, sizes, tokens, predicting, dtype.itemsize)
