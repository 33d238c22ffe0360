"""The pass over the examples."""

import logging
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture.forms import MEASURED, factored_maps, gradient_memories, gradient_sums
from coldlens.capture.gathered import Gathered
from coldlens.capture.needs import Evidence, Needs, loss_and_form
from coldlens.capture.release import release
from coldlens.capture.trials import budget_of
from coldlens.checks import at_least
from coldlens.errors import ArgumentError
from coldlens.examples.batch import BOTH, Batch, Side, batches, tail
from coldlens.examples.example import ExampleSet
from coldlens.examples.positions import check_positions
from coldlens.examples.tokens import Encoded, encode
from coldlens.gradients import Call, factors, plan, recorded
from coldlens.losses import loss_name, reads_completion, reads_residual, sides_of
from coldlens.models.casting import cast
from coldlens.models.forward import residuals
from coldlens.models.guards import require_decoder, require_eval, working_dtype
from coldlens.models.parameters import exchanged, parameters, upstream

logger = logging.getLogger(__name__)


@torch.inference_mode(False)
def collect(
    model: TransformerBridge,
    examples: ExampleSet,
    layers: tuple[int, ...],
    needs: Needs,
    *,
    batch_size: int = 8,
    encoded: list[Encoded] | None = None,
    at: Mapping[str, Tensor] | None = None,
    differentiate: Iterable[str] | None = None,
    progress: bool = False,
) -> Evidence:
    """Gathers everything that is needed in one pass over the examples.

    Only the part of the graph that is asked for is built: without parameter gradients it begins
    at the shallowest layer, without a loss there is none and the forward stops at the deepest
    layer. Sums are accumulated in float32 or better. The parameter gradients of a model in half
    precision are computed in float32 altogether, in a pass of their own.

    Args:
        model: The model; its parameters, their `.grad` and `requires_grad` stay as they are.
        examples: The examples.
        layers: 0-based blocks, ascending.
        needs: What to gather.
        batch_size: Examples a batch; it changes memory and speed, not results, but for a gradient
            of low rank, which is truncated after each batch. Where a form has a `max_memory`, the
            most examples a batch: as many are taken as fit.
        encoded: The examples' tokens, where they are known already.
        at: Parameter values to compute at instead of the model's own, by name.
        differentiate: Names of the parameters that g covers; by default those upstream of the
            deepest layer.
        progress: Show a progress bar.

    Returns:
        What was found.

    Raises:
        ArgumentError: If a parameter gradient of a residual-stream loss is asked for, a loss
            returns a wrong shape, the batch size is not positive, or not even one example fits
            into `max_memory`.
    """
    require_decoder(model)
    require_eval(model)
    at_least(1, "batch_size", batch_size)
    for _, positions in needs.activations | needs.gradients:
        check_positions(positions)
    for loss, _ in map(loss_and_form, needs.parameter_gradients):
        if reads_residual(loss):
            raise ArgumentError(
                expected="a loss of the logits for a parameter gradient",
                found=f"{loss_name(loss)}, which is another loss at every layer",
                fix="Use it with ColdKernel, or choose CrossEntropy or DPO",
            )
    encoded = encode(model, examples) if encoded is None else encoded
    sides = _sides(needs, examples)
    values = {name: found.tensor.detach() for name, found in parameters(model).items()}
    values |= at or {}
    names: Collection[str] = ()
    if needs.parameter_gradients:
        names = upstream(model, max(layers)) if differentiate is None else list(differentiate)
    memories = gradient_memories(model, needs, names, examples, encoded)
    plans = {wanted: plan(loss_and_form(wanted)[1], memory) for wanted, memory in memories.items()}
    bounded = any(form.max_memory is not None for _, form in map(loss_and_form, memories))
    device = next(iter(values.values())).device

    def gather(gathered: Gathered, loader: Collection[Batch], shown: bool = False) -> None:
        kept = [found.plan.factored for found in gathered.gradients]
        tensors = [name for name in names if any(name not in factored for factored in kept)]
        maps = factored_maps(model, frozenset().union(*kept))
        for part, dtype in _passes(model, needs):
            point = {
                name: cast(value, dtype) if dtype and value.is_floating_point() else value
                for name, value in values.items()
            }
            whole = bool(part.parameter_gradients)
            leaves = {name: point[name].detach().requires_grad_() for name in tensors if whole}
            with (
                exchanged(model, {**point, **leaves}),
                recorded(maps if whole else []) as calls,
                torch.autocast(device.type, enabled=False),
            ):
                for batch in tqdm(loader, desc="examples", disable=not shown):
                    run_batch(model, batch, layers, part, leaves, gathered, calls)
                    if bounded:
                        release()

    rows = MEASURED
    if bounded:
        chosen = budget_of(model, layers, needs, sides, encoded, memories, gather).choose(
            batch_size
        )
        if progress:
            tqdm.write(str(chosen), file=sys.stderr)
        else:
            logger.info("%s", chosen)
        plans, rows = chosen.plans, min(MEASURED, chosen.batch_size)
        batch_size = chosen.batch_size
    sums = gradient_sums(model, layers, plans, encoded, rows)
    gathered = Gathered(model, layers, needs, len(examples), sums)
    gather(gathered, list(batches(encoded, sides, batch_size, device=device)), progress)
    return gathered.evidence(examples, encoded, batch_size, progress)


def _passes(model: TransformerBridge, needs: Needs) -> list[tuple[Needs, torch.dtype | None]]:
    accurate = working_dtype(model)
    if next(model.original_model.parameters()).dtype == accurate or not needs.parameter_gradients:
        return [(needs, None)]
    own = replace(needs, parameter_gradients=frozenset())
    passes: list[tuple[Needs, torch.dtype | None]] = [(own, None)] if own != Needs() else []
    return [*passes, (Needs(parameter_gradients=needs.parameter_gradients), accurate)]


def _sides(needs: Needs, examples: ExampleSet) -> tuple[Side, ...]:
    wanted = {side for side, _ in needs.activations}
    for loss in needs.losses:
        wanted |= set(sides_of(loss, examples))
    return tuple(side for side in BOTH if side in wanted)


def run_batch(
    model: TransformerBridge,
    batch: Batch,
    layers: tuple[int, ...],
    needs: Needs,
    leaves: Mapping[str, Tensor],
    gathered: Gathered,
    calls: list[Call] | None = None,
) -> None:
    """Runs one batch forward once and backward once a loss, and adds what was found.

    Args:
        model: The model, at the parameter values to compute at.
        batch: The batch.
        layers: 0-based blocks, ascending.
        needs: What to gather.
        leaves: The parameters to differentiate, among the model's present values, by name.
        gathered: Where it is added.
        calls: Where the calls of the recorded linear maps come in; empty afterwards.
    """
    losses = [loss for loss in needs.losses if not reads_residual(loss)]
    cut = min(layers) if losses and not needs.parameter_gradients else None

    def edit(layer: int, residual: Tensor) -> Tensor | None:
        if layer == cut:
            return residual.detach().requires_grad_()
        return residual if needs.gradients else None

    read, answers = bool(losses), batch
    if losses and all(map(reads_completion, losses)):
        read, answers = tail(batch)
    # A gradient of parameters alone reads no residual stream.
    unread = read is not False and replace(needs, parameter_gradients=frozenset()) == Needs()
    with torch.set_grad_enabled(bool(losses)):
        streams, logits = residuals(
            model,
            batch.tokens,
            batch.attention_mask,
            () if unread else layers,
            edit=edit,
            logits=read,
        )
        if logits is not None and answers is not batch:
            real = answers.attention_mask
            logits = logits.new_zeros(*real.shape, logits.shape[-1]).index_put((real,), logits)
    gathered.add_activations(needs, batch, streams)
    for loss in needs.losses:
        if reads_residual(loss):
            gathered.add_residual_loss(loss, batch, streams)
    for place, loss in enumerate(losses):
        assert logits is not None
        with torch.enable_grad():
            value = loss(logits, answers)
        gathered.add_loss(loss, batch, value)
        kept = any(other == loss for other, _ in needs.gradients)
        streams_wanted = list(streams.values()) if kept else []
        sums = gathered.sums(loss) if needs.parameter_gradients else []
        dense = {n: v for n, v in leaves.items() if any(n not in s.plan.factored for s in sums)}
        maps = [c for c in calls or () if any(c.place.name in s.plan.factored for s in sums)]
        found = torch.autograd.grad(
            value.sum(),
            [*streams_wanted, *dense.values(), *(call.output for call in maps)],
            retain_graph=place < len(losses) - 1,
            allow_unused=True,
        )
        of_streams, of_dense = len(streams_wanted), len(streams_wanted) + len(dense)
        if kept:
            gathered.add_gradients(loss, batch, found[:of_streams])
        gathered.add_parameter_gradients(
            loss,
            dict(zip(dense, found[of_streams:of_dense], strict=True)),
            factors(maps, found[of_dense:], batch),
        )
    if calls is not None:
        calls.clear()
