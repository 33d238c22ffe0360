"""`compare_directions`: one pass over the examples, every direction, one report."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm
from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture import Needs, collect
from coldlens.compare.choose import choose_methods
from coldlens.compare.cost import estimate
from coldlens.compare.readout import token_table
from coldlens.compare.report import DirectionReport
from coldlens.directions import ColdJVP, DiffMean, Method
from coldlens.examples.example import Example, ExampleSet, Text
from coldlens.examples.tokens import encode, encode_prompts
from coldlens.losses import Loss, default_loss, loss_name
from coldlens.models.guards import Layers, require_decoder, resolve_layers
from coldlens.steering.provenance import provenance
from coldlens.steering.static import StaticSteering
from coldlens.steering.steering import Steering
from coldlens.vectors import coherence, cosine

logger = logging.getLogger(__name__)


def compare_directions(
    model: TransformerBridge,
    examples: ExampleSet | Iterable[Example],
    methods: Sequence[str | Method] | None = None,
    layers: Layers = None,
    loss: Loss | None = None,
    prompts: Sequence[Text] | None = None,
    seed: int = 0,
    *,
    batch_size: int = 8,
    progress: bool = False,
) -> DirectionReport:
    """Compares the directions that different methods find for one behaviour.

    All methods share one pass over the examples. An input-dependent method is represented by its
    mean displacement over the evaluation prompts, each read at its last token.

    Args:
        model: The model, in evaluation mode; nothing of it is changed.
        examples: 10 to 50 examples of the behaviour.
        methods: Names or instances; by default all of them (on positive-only data those that
            need no negatives). The columns that compare with ColdJVP and DiffMean take the first
            of each, and are nan where there is none.
        layers: 0-based blocks; None for all.
        loss: The loss of every method that names none; by default DPO on paired data and
            cross-entropy on positive-only data.
        prompts: Evaluation prompts; by default those of the examples.
        seed: Seed of the random control.
        batch_size: Examples a batch; it changes memory and speed, not results.
        progress: Show progress bars.

    Returns:
        The report.
    """
    chosen = ExampleSet.of(examples)
    require_decoder(model)
    labelled, skipped = choose_methods(methods, chosen, loss or default_loss(chosen), seed)
    for label, reason in skipped.items():
        logger.warning("left out %s: %s", label, reason)
    depths = resolve_layers(model, layers)
    for method in labelled.values():
        method.check(model, chosen)
    encoded = encode(model, chosen)
    evaluated = (
        [example.prompt for example in encoded]
        if prompts is None
        else encode_prompts(model, prompts, chosen.policy)
    )
    cost = estimate(model, chosen, encoded, depths, labelled, len(evaluated))
    logger.info("%s", cost)

    needs = Needs(activations=frozenset({("positive", "last_prompt")}))
    for method in labelled.values():
        needs = needs | method.needs(chosen)
    evidence = collect(
        model, chosen, depths, needs, batch_size=batch_size, encoded=encoded, progress=progress
    )
    residual = evidence.activations["positive", "last_prompt"].norm(dim=-1).mean(1)

    readings: dict[str, Float[Tensor, "layer prompt d"]] = {}
    spread: dict[str, Float[Tensor, " layer"]] = {}
    for label, method in tqdm(labelled.items(), desc="methods", disable=not progress):
        steering = method.solve(model, evidence)
        readings[label], spread[label] = _read(steering, evaluated)

    vectors = {label: reading.mean(1) for label, reading in readings.items()}
    notes = _zeros(depths, vectors)
    for note in notes:
        logger.warning("%s", note)
    directions = {
        label: {layer: vector[place].cpu() for place, layer in enumerate(depths)}
        for label, vector in vectors.items()
    }
    record = provenance(
        model,
        chosen,
        method="compare_directions",
        settings="see methods",
        formula=1,
        scale="see each method",
        loss=loss_name(loss or default_loss(chosen)),
        seed=seed,
    )
    about = {
        **record.as_dict(),
        "methods": {label: repr(method) for label, method in labelled.items()},
        "blocks": len(model.blocks),
        "skipped": skipped,
        "notes": notes,
        "prompts": len(evaluated),
        "prompts_from": "the examples" if prompts is None else "given",
        "cost": str(cost),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return DirectionReport(
        table=_table(depths, labelled, vectors, readings, spread, residual),
        tokens=token_table(model, directions),
        directions=directions,
        token_ids={
            "examples": [[e.prompt, e.positive, e.negative] for e in encoded],
            "prompts": list(evaluated),
        },
        about=about,
    )


def _read(
    steering: Steering, prompts: Sequence[tuple[int, ...]]
) -> tuple[Float[Tensor, "layer prompt d"], Float[Tensor, " layer"]]:
    if isinstance(steering, StaticSteering):
        return steering.vectors.unsqueeze(1), steering.coherence
    readings = steering.readings(prompts)
    return readings, coherence(readings)


def _zeros(layers: tuple[int, ...], vectors: Mapping[str, Tensor]) -> list[str]:
    notes = []
    for label, vector in vectors.items():
        zero = [layer for place, layer in enumerate(layers) if not vector[place].any()]
        if zero:
            notes.append(f"{label} is zero at layers {zero}: no gradient reaches its positions")
    return notes


def _first(methods: Mapping[str, Method], kind: type[Method]) -> str:
    return next((label for label, method in methods.items() if isinstance(method, kind)), "")


def _table(
    layers: tuple[int, ...],
    methods: Mapping[str, Method],
    vectors: Mapping[str, Float[Tensor, "layer d"]],
    readings: Mapping[str, Float[Tensor, "layer prompt d"]],
    spread: Mapping[str, Float[Tensor, " layer"]],
    residual: Float[Tensor, " layer"],
) -> pd.DataFrame:
    unknown = torch.full_like(residual, float("nan"))
    exact, contrast = _first(methods, ColdJVP), _first(methods, DiffMean)
    frames = []
    for label, vector in vectors.items():
        norm = vector.norm(dim=-1)
        columns = {
            "norm": norm,
            "relative_norm": norm / residual,
            "cosine_to_ColdJVP": _cosine(vector, vectors.get(exact), unknown),
            "prompt_cosine_to_ColdJVP": _prompt_cosine(
                readings[label], readings.get(exact), unknown
            ),
            "cosine_to_DiffMean": _cosine(vector, vectors.get(contrast), unknown),
            "coherence": spread[label],
        }
        values = {name: column.double().cpu().numpy() for name, column in columns.items()}
        frames.append(pd.DataFrame({"layer": layers, "method": label, **values}))
    return pd.concat(frames, ignore_index=True)


def _cosine(
    vector: Float[Tensor, "layer d"],
    other: Float[Tensor, "layer d"] | None,
    unknown: Float[Tensor, " layer"],
) -> Float[Tensor, " layer"]:
    return unknown if other is None else cosine(vector, other)


def _prompt_cosine(
    reading: Float[Tensor, "layer one_or_prompt d"],
    exact: Float[Tensor, "layer prompt d"] | None,
    unknown: Float[Tensor, " layer"],
) -> Float[Tensor, " layer"]:
    if exact is None:
        return unknown
    return cosine(reading, exact).mean(1)
