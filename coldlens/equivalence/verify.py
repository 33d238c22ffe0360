"""`verify_equivalences`: every identity behind COLD-Steer, checked on a model and its examples."""

import logging
from collections.abc import Callable, Iterable, Iterator

import pandas as pd
import torch
from transformer_lens.model_bridge import TransformerBridge

from coldlens.checks import at_least
from coldlens.directions import ColdJVP
from coldlens.equivalence.contrast import contrast_rows
from coldlens.equivalence.kernel_blocks import kernel_block_rows
from coldlens.equivalence.kernel_sum import kernel_sum_rows
from coldlens.equivalence.preference import preference_rows
from coldlens.equivalence.report import Equivalences, report_of
from coldlens.equivalence.rows import Row
from coldlens.equivalence.setting import Setting
from coldlens.equivalence.steps import step_rows
from coldlens.equivalence.trained import trained_rows
from coldlens.errors import ExampleError
from coldlens.examples.example import Example, ExampleSet
from coldlens.losses import Loss, default_loss, loss_name
from coldlens.models.double import in_double
from coldlens.models.guards import Layers, resolve_layers
from coldlens.steering.provenance import provenance
from coldlens.words import counted

logger = logging.getLogger(__name__)

CHECKS: tuple[Callable[[Setting], Iterator[Row | pd.DataFrame]], ...] = (
    contrast_rows,
    step_rows,
    kernel_sum_rows,
    kernel_block_rows,
    preference_rows,
    trained_rows,
)


@torch.inference_mode(False)
def verify_equivalences(
    model: TransformerBridge,
    examples: ExampleSet | Iterable[Example],
    layers: Layers = None,
    *,
    loss: Loss | None = None,
    n: int = 8,
    queries: int = 2,
    seed: int = 0,
    progress: bool = False,
) -> Equivalences:
    """Checks ten equivalences of steering directions, each beside a case that must break it.

    Everything is computed in float64 with the model's own weights, so that what does not hold
    does not hold for want of precision. Tolerances are not tuned: they follow from the unit
    round-off and the length of the computation, or from the size of the terms that a truncation
    error leaves out; each check's docstring says how.

    Args:
        model: The model, in evaluation mode with raw numerics; nothing of it is changed.
        examples: Examples of a behaviour; on positive-only data the checks that need pairs do not
            apply.
        layers: 0-based blocks; None for all. Kernels and trained vectors (E5, E6, E8, E10) are
            checked at the first, the middle and the last of them, on the two shortest examples.
        loss: The loss of the logits; by default DPO on paired data and cross-entropy on
            positive-only data.
        n: How many examples to draw.
        queries: How many of their prompts displacements are read at, the shortest ones.
        seed: Seed of the draw and of random vectors.
        progress: Show progress bars.

    Returns:
        The report.

    Raises:
        ExampleError: If there are fewer than two examples.
    """
    chosen = ExampleSet.of(examples)
    for name, value in (("n", n), ("queries", queries)):
        at_least(1, name, value)
    drawn = chosen.sample(min(n, len(chosen)), seed)
    if len(drawn) < 2:
        raise ExampleError(
            expected="at least two examples, so that their weights can differ",
            found=f"{len(drawn)}",
            fix="Give more examples, or n >= 2",
        )
    used = loss or default_loss(drawn)
    ColdJVP(used).check(model, drawn)
    depths = resolve_layers(model, layers)
    few = tuple(sorted({depths[0], depths[len(depths) // 2], depths[-1]}))
    logger.info(
        "%s of %s in float64: about 300 forwards of %s up to layer %d, then "
        "kernels and trained vectors at layers %s",
        counted(len(drawn), "example"),
        drawn.name,
        counted(queries, "prompt"),
        depths[-1],
        list(few),
    )
    rows: list[Row] = []
    curves: list[pd.DataFrame] = []
    with in_double(model):
        setting = Setting(model, drawn, depths, few, used, queries, seed, progress)
        for check in CHECKS:
            for found in check(setting):
                if isinstance(found, Row):
                    rows.append(found)
                else:
                    curves.append(found)
    record = provenance(
        model,
        drawn,
        method="verify_equivalences",
        settings=f"n={n}, queries={queries}",
        formula=1,
        scale="see each check",
        loss=loss_name(used),
        seed=seed,
    )
    return report_of(rows, curves, record.as_dict())
