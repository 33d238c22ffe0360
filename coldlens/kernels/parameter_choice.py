"""`params=`: which parameters a kernel is taken over."""

import re
from collections.abc import Callable, Collection, Mapping

from torch import nn
from transformer_lens.model_bridge import TransformerBridge

from coldlens.errors import ArgumentError
from coldlens.models.parameters import Parameter

Part = str | Callable[[str], bool]
"""`"attention"`, `"mlp"`, `"norms"`, `"embeddings"`, `"block 3"`, or a test of a name."""

WORDS = ("attention", "mlp", "norms", "embeddings")
_BLOCK = re.compile(r"block (\d+)")


def select_parameters(
    model: TransformerBridge,
    parameters: Mapping[str, Parameter],
    parts: Part | Collection[Part] | None,
) -> tuple[str, ...]:
    """Chooses parameters. Kernels of disjoint choices add up to the kernel of their union.

    The four words cover a transformer, each parameter once: `"embeddings"` is everything outside
    the blocks, `"norms"` every normalisation inside them, those of queries and keys included, and
    `"attention"` and `"mlp"` are the rest of these two. Blocks and `"embeddings"` also cover it.

    Args:
        model: The model.
        parameters: The parameters to choose from.
        parts: What to keep: one part or several (their union); None for everything.

    Returns:
        Names, in the order of `parameters`.

    Raises:
        ArgumentError: If a word is unknown or nothing is chosen.
    """
    if parts is None:
        return tuple(parameters)
    several = (
        list(parts) if isinstance(parts, Collection) and not isinstance(parts, str) else [parts]
    )
    tests = [_test(model, part, parameters) for part in several]
    chosen = tuple(name for name in parameters if any(test(name) for test in tests))
    if not chosen:
        raise ArgumentError(
            expected="params to select at least one parameter upstream of the deepest layer",
            found=f"none for params = {parts!r}",
            fix=f"Use {', '.join(WORDS)}, 'block 0' … or a function of names such as "
            f"{next(iter(parameters))!r}",
        )
    return chosen


def _test(
    model: TransformerBridge, part: Part, parameters: Mapping[str, Parameter]
) -> Callable[[str], bool]:
    if callable(part):
        return part
    block = _BLOCK.fullmatch(part) if isinstance(part, str) else None
    if part not in WORDS and (block is None or int(block[1]) >= len(model.blocks)):
        raise ArgumentError(
            expected=f"params among {', '.join(WORDS)}, 'block 0' to 'block "
            f"{len(model.blocks) - 1}', or a function of a name",
            found=f"params = {part!r}",
            fix="Choose one of them, or pass several in a list",
        )
    labels = _labels(model)

    def holds(name: str) -> bool:
        # A tied embedding also sits in the unembedding, which is in no block either.
        module, _ = parameters[name].slots[0]
        word, number = labels.get(id(module), ("embeddings", None))
        return word == part if block is None else number == int(block[1])

    return holds


def _labels(model: TransformerBridge) -> dict[int, tuple[str, int]]:
    """Returns word and block of every module inside a block, by identity."""
    labels: dict[int, tuple[str, int]] = {}
    for number, block in enumerate(model.blocks):
        for module in block.modules():
            labels[id(module)] = ("", number)
        for word, attribute in (("attention", "attn"), ("mlp", "mlp")):
            for module in getattr(block, attribute, nn.Identity()).modules():
                labels[id(module)] = (word, number)
        for module in block.modules():
            if "norm" in type(module).__name__.lower():
                labels[id(module)] = ("norms", number)
    return labels
