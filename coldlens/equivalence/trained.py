"""E10: the first step of a trained vector is COLD-Kernel."""

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import logsigmoid
from tqdm.auto import tqdm

from coldlens.capture import collect
from coldlens.directions import ColdKernel
from coldlens.equivalence.rows import Case, Check, Row
from coldlens.equivalence.setting import Setting
from coldlens.examples.batch import Batch, batch_of
from coldlens.examples.positions import Positions, select
from coldlens.examples.tokens import encode
from coldlens.losses import DPO, Loss, completion_log_probs, sides_of
from coldlens.models.forward import residuals

REFT = Check("E10", "first SGD step of a ReFT vector from 0 = ColdKernel(same loss, all)")
BIPO = Check("E10", 'first BiPO step from 0 = ColdKernel(DPO(reference="self", sum), all)')
STEERED: Positions = "all"
"""After the last block the prompt alone may have no gradient: completions can begin alike."""
BETA = 0.1

Objective = Callable[[Float[Tensor, " d"]], Tensor]
"""The loss to train on, as a function of the vector."""
Training = Callable[[Setting, Sequence[Batch], int], Objective]


def trained_rows(setting: Setting) -> Iterator[Row]:
    """Takes one step of `torch.optim.SGD` with learning rate 1 on a vector added at a layer.

    At v = 0 the gradient with respect to v is that of the residual stream, summed over the steered
    positions, so both sides are one reverse pass, equal within `Setting.rounding`.

    Args:
        setting: The setting.

    Yields:
        For each of the few layers and both kinds of training the claim, and as counter-case a step
        that starts from a random vector as long as the residual stream.
    """
    model, loss, examples = setting.model, setting.loss, setting.pair
    encoded = encode(model, examples)
    device = next(model.original_model.parameters()).device
    trainings: list[tuple[Check, Loss, Training]] = [(REFT, loss, _reft)]
    if examples.paired:
        trainings.append((BIPO, DPO(BETA, "self", "sum"), _bipo))
    else:
        yield BIPO.absent("needs negative completions; some example has none")
    for check, own, training in trainings:
        sides = sides_of(own, examples)
        batches = [batch_of(encoded, [i], sides, device=device) for i in range(len(encoded))]
        kernel = ColdKernel(own, STEERED)
        right = kernel.solve(model, collect(model, examples, setting.few, kernel.needs(examples)))
        for layer in tqdm(setting.few, desc=check.name, disable=not setting.progress):
            objective = training(setting, batches, layer)
            start = _start(setting, layer, batches[0])
            starts: tuple[tuple[Case, Tensor, str], ...] = (
                ("claim", torch.zeros_like(start), "from 0"),
                ("counter", start, "from a vector that is not 0"),
            )
            for case, vector, detail in starts:
                left = _first_step(objective, vector)
                yield check.equal(layer, left, right.vector(layer), setting.rounding, detail, case)


def _first_step(objective: Objective, start: Float[Tensor, " d"]) -> Float[Tensor, " d"]:
    """Returns what one step of gradient descent adds to the vector."""
    with torch.enable_grad():
        vector = start.clone().requires_grad_()
        optimiser = torch.optim.SGD([vector], lr=1.0)
        objective(vector).backward()
        optimiser.step()
    return vector.detach() - start


def _steered(
    setting: Setting,
    batch: Batch,
    layer: int,
    vector: Float[Tensor, " d"],
) -> Float[Tensor, "row pos vocab"]:
    """Returns the logits with the vector added at a layer and the steered positions."""
    mask = select(STEERED, batch.prompt_mask, batch.answer_mask).unsqueeze(-1)
    _, logits = residuals(
        setting.model,
        batch.tokens,
        batch.attention_mask,
        [layer],
        edit=lambda _, residual: residual + vector * mask,
        logits=True,
    )
    assert logits is not None
    return logits


def _reft(setting: Setting, batches: Sequence[Batch], layer: int) -> Objective:
    """Returns the loss of a ReFT vector: the setting's own, with the vector added."""

    def objective(vector: Tensor) -> Tensor:
        losses = [setting.loss(_steered(setting, batch, layer, vector), batch) for batch in batches]
        return torch.cat(losses).mean()

    return objective


def _bipo(setting: Setting, batches: Sequence[Batch], layer: int) -> Objective:
    """Returns the loss of bi-directional preference optimisation, averaged over d = ±1.

    −log σ(d β [log π(y⁺|v)/π(y⁺) − log π(y⁻|v)/π(y⁻)]) with d·v added at every position (Cao et al.
    2024, "Personalized Steering of Large Language Models", equation 4); the reference is the
    model without the vector.

    Args:
        setting: The setting.
        batches: One batch an example.
        layer: Where the vector is added.

    Returns:
        The mean loss of the examples.
    """

    def margin(batch: Batch, vector: Tensor) -> Tensor:
        logits = _steered(setting, batch, layer, vector)
        positive = completion_log_probs(logits, batch, "positive", "sum")
        return positive - completion_log_probs(logits, batch, "negative", "sum")

    def objective(vector: Tensor) -> Tensor:
        losses = []
        for batch in batches:
            reference = margin(batch, torch.zeros_like(vector)).detach()
            losses += [
                -logsigmoid(sign * BETA * (margin(batch, sign * vector) - reference))
                for sign in (1.0, -1.0)
            ]
        return torch.cat(losses).mean()

    return objective


def _start(setting: Setting, layer: int, batch: Batch) -> Float[Tensor, " d"]:
    """Returns a random vector as long as the residual stream of an example is on average."""
    mask: Bool[Tensor, "row pos"] = batch.attention_mask
    stream = residuals(setting.model, batch.tokens, mask, [layer])[0][layer][mask]
    generator = torch.Generator().manual_seed(setting.seed)
    vector = torch.randn(stream.shape[-1], generator=generator, dtype=stream.dtype)
    vector = vector.to(stream.device)
    return vector * stream.detach().norm(dim=-1).mean() / vector.norm()
