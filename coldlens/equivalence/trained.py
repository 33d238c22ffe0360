"""E10: the first step of a trained vector is COLD-Kernel."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR
from tqdm.auto import tqdm

from coldlens.capture import Evidence, collect
from coldlens.directions import BiPO, ColdKernel, ReFTVector
from coldlens.equivalence.rows import Case, Check, Row
from coldlens.equivalence.setting import PAIR, Setting
from coldlens.examples.positions import Positions
from coldlens.models.forward import residuals
from coldlens.steering.trained import Weights

REFT = Check("E10", "first SGD step of ReFTVector = ColdKernel(same loss, all)")
BIPO = Check("E10", 'first SGD step of BiPO = ColdKernel(DPO("self", sum), all)')
STEERED: Positions = "all"
"""After the last block the prompt alone may have no gradient: completions can begin alike."""

Training = ReFTVector | BiPO


def trained_rows(setting: Setting) -> Iterator[Row]:
    """Trains a vector for one step of `torch.optim.SGD` with learning rate 1.

    The classes themselves train it, with their own loss, batch and start at 0; only Adam, which
    follows the sign of the gradient at first, is replaced. At v = 0 the gradient with respect to
    v is that of the residual stream, summed over the steered positions, so both sides are one
    reverse pass, equal within `Setting.rounding`. BiPO draws the sign of its vector; the first
    step is the same for either.

    Args:
        setting: The setting.

    Yields:
        For each of the few layers and both classes the claim, and as counter-case a step that
        starts from a random vector as long as the residual stream.
    """
    model, examples = setting.model, setting.pair
    checks: list[tuple[Check, Training]] = [
        (REFT, ReFTVector(setting.loss, epochs=1, batch_size=PAIR, positions=STEERED))
    ]
    if examples.paired:
        checks.append((BIPO, BiPO(epochs=1, batch_size=PAIR, positions=STEERED)))
    else:
        yield BIPO.absent("needs negative completions; some example has none")
    for check, training in checks:
        kernel = ColdKernel(training.loss_of(examples), STEERED)
        for layer in tqdm(setting.few, desc=check.name, disable=not setting.progress):
            evidence = collect(model, examples, (layer,), kernel.needs(examples))
            right = kernel.solve(model, evidence).vector(layer)
            starts: tuple[tuple[Case, Tensor, str], ...] = (
                ("claim", torch.zeros_like(right), "from 0"),
                ("counter", _start(setting, layer), "from a vector that is not 0"),
            )
            for case, vector, detail in starts:
                left = _first_step(setting, training, evidence, vector)
                yield check.equal(layer, left, right, setting.rounding, detail, case)


def _first_step(
    setting: Setting, training: Training, evidence: Evidence, start: Float[Tensor, " d"]
) -> Float[Tensor, " d"]:
    """Returns what the first step adds to the vector that it starts from."""

    def begin(_self: Training, _width: int, _generator: torch.Generator) -> Weights:
        return {"vector": start.clone()}

    def descend(_self: Training, weights: Sequence[Tensor], _steps: int) -> tuple[SGD, LambdaLR]:
        optimiser = SGD(list(weights), lr=1.0)
        return optimiser, LambdaLR(optimiser, lambda _: 1.0)

    kind: Any = type("OneStep", (type(training),), {"start": begin, "optimiser": descend})
    trained = kind(**vars(training)).solve(setting.model, evidence)
    return trained.vector(evidence.layers[0]) - start


def _start(setting: Setting, layer: int) -> Float[Tensor, " d"]:
    """Returns a random vector as long as the residual stream of the prompts is on average."""
    tokens, mask = setting.prompts
    stream = residuals(setting.model, tokens, mask, [layer])[0][layer][mask].detach()
    generator = torch.Generator().manual_seed(setting.seed)
    vector = torch.randn(stream.shape[-1], generator=generator, dtype=stream.dtype)
    vector = vector.to(stream.device)
    return vector * stream.norm(dim=-1).mean() / vector.norm()
