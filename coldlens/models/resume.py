"""Forward passes that go on from a residual stream: the blocks before it are not run again."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from coldlens.models.forward import residuals
from coldlens.models.offload import device_of


def resumed(
    model: TransformerBridge,
    tokens: Int[Tensor, "row pos"],
    attention_mask: Bool[Tensor, "row pos"],
    layer: int,
    residual: Float[Tensor, "row pos d"],
    read: Bool[Tensor, "row pos"] | None = None,
) -> Float[Tensor, "*token vocab"]:
    """Runs the blocks after a layer on a given residual stream.

    Equal to a forward pass in which `residual` takes the place of Z_l, at the cost of the later
    blocks and the unembedding alone.

    Args:
        model: The model.
        tokens: Token ids.
        attention_mask: True at real tokens.
        layer: 0-based block l.
        residual: What takes the place of Z_l.
        read: Which real tokens are unembedded; None for all.

    Returns:
        The logits [row, pos, vocabulary], arbitrary at padding; with `read` those of the tokens
        it selects, [token, vocabulary] row after row.
    """
    with _skipped(model, layer):
        _, logits = residuals(
            model,
            tokens,
            attention_mask,
            [layer],
            edit=lambda *_: residual,
            logits=True if read is None else read,
        )
    assert logits is not None
    return logits


@contextmanager
def _skipped(model: TransformerBridge, layer: int) -> Iterator[None]:
    """Puts empty blocks in the place of all blocks up to a layer."""
    places: dict[str, nn.Module] = model.blocks._modules  # pyright: ignore[reportAssignmentType]
    own = {str(index): places[str(index)] for index in range(layer + 1)}
    try:
        for name, block in own.items():
            places[name] = _EmptyBlock(block)
        yield
    finally:
        places.update(own)


_HOOKS = ("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called")
"""What acts on the output of a block."""


class _EmptyBlock(nn.Module):
    """Hands its input on, on the device and through the hooks of the block it stands for."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.__dict__["block"] = block
        for name in _HOOKS:
            setattr(self, name, getattr(block, name))

    def forward(self, hidden: Tensor, *_: Any, **__: Any) -> Any:
        return self.block.hook_resid_post(hidden.to(device_of(self.block)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["block"], name)
