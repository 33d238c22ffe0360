"""The `with` block in which a model is steered: hooks that know the prompt and count firings."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import Module
from transformer_lens.model_bridge import TransformerBridge

from coldlens.errors import SteeringError
from coldlens.examples.positions import Positions, check_positions, select
from coldlens.examples.tokens import real_tokens
from coldlens.models.forward import measuring
from coldlens.models.guards import hook_name

Displacements = dict[int, Float[Tensor, "row pos d"]]

_READ = ("input_ids", "attention_mask")
"""Tensors among the model's arguments that coldlens gives it too."""


@dataclass(frozen=True)
class Intervention:
    """What is added where, in one forward pass.

    Attributes:
        layers: The steered layers, ascending.
        eta: The step size.
        mask: The steered positions.
    """

    layers: tuple[int, ...]
    eta: float
    mask: Bool[Tensor, "row pos"]

    def applied(
        self, layer: int, residual: Float[Tensor, "row pos d"], change: Float[Tensor, "row pos d"]
    ) -> Float[Tensor, "row pos d"]:
        """Adds η times the displacement to the steered positions of a layer.

        Args:
            layer: The layer.
            residual: Its residual stream.
            change: The displacement.

        Returns:
            The steered residual stream in its own dtype; at another layer, the same tensor.
        """
        if layer not in self.layers:
            return residual
        added = (self.eta * change * self.mask.unsqueeze(-1)).to(residual.device)
        return (residual + added).to(residual.dtype)


def prompt_positions(
    positions: Positions, prompt_mask: Bool[Tensor, "row pos"]
) -> Bool[Tensor, "row pos"]:
    """Resolves the steered positions of a prompt.

    Args:
        positions: The selection.
        prompt_mask: True at the prompt's tokens.

    Returns:
        True at steered tokens; nowhere for the names of generated ones.
    """
    if positions in ("generated", "first_generated"):
        return torch.zeros_like(prompt_mask)
    return select(positions, prompt_mask, torch.zeros_like(prompt_mask))


@runtime_checkable
class Source(Protocol):
    """What computes displacements: a `Steering`, whose methods of these names say more."""

    @property
    def model(self) -> TransformerBridge:
        """The model that was fitted."""
        ...

    def field(
        self,
        tokens: Int[Tensor, "row pos"],
        attention_mask: Bool[Tensor, "row pos"],
        layers: tuple[int, ...],
        intervention: Intervention | None = None,
    ) -> Displacements:
        """Returns the displacements of a padded batch."""
        ...

    def begin_field(
        self,
        tokens: Int[Tensor, "row pos"],
        attention_mask: Bool[Tensor, "row pos"],
        layers: tuple[int, ...],
    ) -> Callable[[Displacements], Displacements]:
        """Returns what makes them of the unsteered residual streams."""
        ...


@contextmanager
def steered(
    model: TransformerBridge,
    source: Source,
    layers: Sequence[int],
    eta: float,
    positions: Positions,
) -> Iterator[None]:
    """Adds η times a displacement to the residual stream in every forward pass of the block.

    The first forward defines the prompt. A forward with a key-value cache, or whose tokens are
    those of the previous forward and one more, goes on generating. The displacement is computed
    once, from the whole prompt; generated tokens get the one of the prompt's last token.

    Args:
        model: The model.
        source: Computes the displacements.
        layers: The layers to steer, ascending.
        eta: Step size.
        positions: Where.

    Yields:
        Nothing.

    Raises:
        SteeringError: On leaving, if no forward ran, a hook did not fire in each of them, or no
            position was ever steered.
    """
    check_positions(positions, generating=True)
    points = model.hook_dict
    state = _Run(source, tuple(layers), eta, positions, points[hook_name(layers[0])])
    with ExitStack() as stack:
        before = model.original_model.register_forward_pre_hook(state.begin, with_kwargs=True)
        stack.callback(before.remove)
        for layer in layers:
            handle = points[hook_name(layer)].register_forward_hook(state.hooks[layer])
            stack.callback(handle.remove)
        yield
    state.check()


class _Run:
    """What the hooks of one steered block share.

    `begin` runs before each forward and works out the prompt, the steered positions and the
    displacement; the hook at a steered layer adds that of the columns being computed; `check`
    runs after the block, so that nothing is skipped silently.
    """

    def __init__(
        self,
        source: Source,
        layers: tuple[int, ...],
        eta: float,
        positions: Positions,
        first: Module,
    ) -> None:
        self.source, self.layers, self.eta, self.positions = source, layers, eta, positions
        self.first, self.hooks = first, {layer: self._hook_at(layer) for layer in layers}
        self.forwards, self.fired = 0, dict.fromkeys(layers, 0)
        self.touched = torch.zeros((), dtype=torch.bool)
        self.previous: Tensor | None = None
        self.prompt_mask = torch.zeros(0, 0, dtype=torch.bool)
        self.finish: Callable[[Displacements], Displacements] | None = None
        self.changes: Displacements = {}
        self.chosen = self.mask = self.prompt_mask
        self.window = slice(None)

    def begin(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if measuring():
            return
        tokens = kwargs.get("input_ids", args[0] if args else None)
        if not isinstance(tokens, Tensor):
            raise SteeringError(
                expected="token ids as the model's input inside a steered block",
                found="another kind of input",
                fix="Pass token ids or strings, not embeddings",
            )
        tokens, past = tokens.detach(), _past_length(kwargs.get("past_key_values"))
        if past > 0 and self.forwards == 0:
            raise SteeringError(
                expected="a steered block that begins with the whole prompt",
                found=f"a key-value cache of {past} tokens from before the block",
                fix="Enter the block before the prompt is run",
            )
        if past == 0 and not self._continues(tokens):
            attention = kwargs.get("attention_mask")
            mask = real_tokens(self.source.model, tokens, attention)
            others = [*args[1:], *(v for k, v in kwargs.items() if k not in _READ)]
            plain = not any(isinstance(value, Tensor) for value in others)
            self._new_prompt(tokens, mask, plain and self._reads_along(module, mask))
        if past == 0:
            self.previous = tokens
        self._place(past, tokens.shape[1])
        self.forwards += 1

    def _hook_at(self, layer: int) -> Callable[[Module, Any, Tensor], Tensor | None]:
        return lambda _module, _inputs, output: self._add(layer, output)

    def _add(self, layer: int, residual: Tensor) -> Tensor | None:
        if measuring():
            return None
        self.fired[layer] += 1
        prompt = self.prompt_mask.shape[1]
        if self.finish is not None:
            stream = residual.detach()[:, :prompt].to(self.prompt_mask.device)
            self._keep(self.finish({layer: stream}))
        change = self.changes[layer]
        columns = torch.arange(self.window.start, self.window.stop, device=change.device)
        change = change[:, columns.clamp(max=prompt - 1)]
        now = Intervention((layer,), self.eta, self.mask)
        return now.applied(layer, residual, change)

    def check(self) -> None:
        fix = "Run the model itself inside the block, through all steered layers"
        if self.forwards == 0:
            raise SteeringError(
                expected="a forward pass of the steered model inside the block",
                found="none",
                fix=fix,
            )
        for layer, count in self.fired.items():
            if count != self.forwards:
                raise SteeringError(
                    expected=f"{hook_name(layer)} in each of {self.forwards} forwards",
                    found=f"{count} firings",
                    fix=fix,
                )
        if not self.touched:
            raise SteeringError(
                expected=f"positions {self.positions!r} to select a token",
                found="none in any forward pass of the block",
                fix="Generated positions exist only under model.generate",
            )

    def _continues(self, tokens: Tensor) -> bool:
        before = self.previous
        return (
            before is not None
            and tokens.shape == (before.shape[0], before.shape[1] + 1)
            and bool(torch.equal(tokens[:, :-1], before))
        )

    def _reads_along(self, module: Module, mask: Tensor) -> bool:
        """Returns whether the forward at hand has the residual stream that coldlens would read.

        Of the very model that was fitted, which may have hooks; at a single layer, that no other
        steering and no later hook changes; with the real tokens first; and neither in float64,
        where coldlens computes without the model's float32 parts, nor under autocast.
        """
        others = [getattr(hook, "__self__", None) for hook in module._forward_pre_hooks.values()]
        return (
            len(self.layers) == 1
            and self.source.model.original_model is module
            and not any(isinstance(other, _Run) and other is not self for other in others)
            and next(reversed(self.first._forward_hooks.values())) is self.hooks[self.layers[0]]
            and next(module.parameters()).dtype != torch.float64
            and not torch.is_autocast_enabled(mask.device.type)
            and bool((mask[:, 1:] <= mask[:, :-1]).all())
        )

    def _new_prompt(self, tokens: Tensor, mask: Tensor, reads_along: bool) -> None:
        self.prompt_mask = mask
        self.chosen = prompt_positions(self.positions, mask)
        if reads_along:
            self.finish = self.source.begin_field(tokens, mask, self.layers)
            return
        intervention = Intervention(self.layers, self.eta, self.chosen)
        self._keep(self.source.field(tokens, mask, self.layers, intervention))

    def _keep(self, changes: Displacements) -> None:
        # Generated columns take the displacement of the last prompt token: with right padding
        # that is not the last column.
        mask = self.prompt_mask
        last = (mask.cumsum(1) * mask).argmax(1)
        rows = torch.arange(len(mask), device=mask.device)
        moving = torch.stack([change.any() for change in changes.values()]).tolist()
        for (layer, change), moves in zip(changes.items(), moving, strict=True):
            if not moves:
                raise SteeringError(
                    expected=f"a displacement at layer {layer} that is not zero",
                    found="zero: steering would do nothing",
                    fix="Choose positions whose gradient is not zero, or another epsilon",
                )
            filled = torch.where(mask.unsqueeze(-1), change, change[rows, last].unsqueeze(1))
            self.changes[layer] = filled
        self.finish = None

    def _place(self, past: int, width: int) -> None:
        prompt = self.prompt_mask.shape[1]
        stop = past + width
        columns = torch.arange(past, stop, device=self.prompt_mask.device)
        later = {
            "all": columns >= prompt,
            "generated": columns >= prompt,
            "first_generated": columns == prompt,
        }.get(str(self.positions), torch.zeros_like(columns, dtype=torch.bool))
        inside = columns < prompt
        chosen = self.chosen[:, columns.clamp(max=prompt - 1)]
        self.mask = (chosen & inside) | later
        self.window = slice(past, stop)
        self.touched = self.mask.any() | self.touched.to(self.mask.device)


def _past_length(cache: Any) -> int:
    return 0 if cache is None else int(cache.get_seq_length())
