"""The budget of a pass over the examples: what stands for its batches while it is planned."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial

from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture.budget import Budget, Plans
from coldlens.capture.forms import gradient_sums
from coldlens.capture.gathered import Gathered
from coldlens.capture.meter import Prepare, Size
from coldlens.capture.needs import Needs, Wanted
from coldlens.examples.batch import Batch, Side, batch_of, pad, pilot
from coldlens.examples.tokens import Encoded, Ids
from coldlens.gradients import Factored, GradientSum, Memory, moved_residuals
from coldlens.models.guards import working_dtype
from coldlens.models.offload import device_of

Gather = Callable[[Gathered, Collection[Batch]], None]
"""Runs batches, and adds what was found."""


class _Passing(GradientSum):
    """A gradient that is added to none where it is kept in full: that room is counted apart."""

    def add(self, dense: Mapping[str, Tensor | None], maps: Mapping[str, Factored]) -> None:
        """Adds the gradient of one batch, where it is truncated."""
        if self.plan.truncated:
            super().add(dense, maps)


def budget_of(
    model: TransformerBridge,
    layers: tuple[int, ...],
    needs: Needs,
    sides: tuple[Side, ...],
    encoded: list[Encoded],
    memories: Mapping[Wanted, Memory],
    gather: Gather,
) -> Budget:
    """Prepares the choice of forms and batch size.

    Args:
        model: The model.
        layers: The layers.
        needs: What will be gathered, some of it with a bound.
        sides: Which completions a batch holds.
        encoded: Tokens of the examples.
        memories: What each gradient would occupy.
        gather: Runs batches.

    Returns:
        The budget.
    """
    device = device_of(model.original_model)
    lengths = [len(one.sequence(side)) for one in encoded for side in sides]
    answers = [len(one.sequence(side)) - len(one.prompt) for one in encoded for side in sides]
    longest = max(encoded, key=lambda one: len(one.prompt))
    prompts = pilot([one.prompt for one in encoded])

    def one_of(size: Size) -> Encoded:
        answer = _cycled(longest.positive, size.answer)
        return replace(
            longest,
            prompt=_cycled(longest.prompt, size.tokens - size.answer),
            positive=answer,
            negative=None if longest.negative is None else answer,
        )

    def run(plans: Plans) -> Prepare:
        def prepare(size: Size) -> Callable[[], object]:
            few = [one_of(size)] * size.examples
            sums = gradient_sums(model, layers, plans, few, kind=_Passing)
            batch = batch_of(few, [0] * size.examples, sides, device=device)
            return partial(gather, Gathered(model, layers, needs, 1, sums), [batch])

        return prepare

    def read(size: Size) -> Callable[[], object]:
        prompt = _cycled(longest.prompt, size.tokens)
        tokens, mask = pad([prompt] * size.examples, device=device)
        return partial(moved_residuals, model, {}, 0.0, tokens, mask, layers)

    read_at = [positions for _, positions in needs.activations | needs.gradients]
    windows = [window for window in read_at if not isinstance(window, str)]
    entry = working_dtype(model).itemsize
    stream = len(layers) * model.cfg.d_model * entry
    return Budget(
        memories,
        Size(len(encoded), max(lengths), max(answers)),
        Size(len(prompts), max(map(len, prompts)), 0),
        sum(lengths),
        stream,
        (len(needs.activations) + len(needs.gradients)) * len(encoded) * stream,
        run,
        read,
        max((abs(end or 0) for window in windows for end in window), default=0),
    )


def _cycled(ids: Ids, count: int) -> Ids:
    return (ids * (count // len(ids) + 1))[:count]
