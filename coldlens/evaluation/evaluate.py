"""`evaluate`: what steering does to a set of questions, one row a question."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import SupportsIndex

import pandas as pd
import torch
from tqdm.auto import tqdm
from transformer_lens.model_bridge import TransformerBridge

from coldlens.checks import at_least, finite
from coldlens.errors import ArgumentError
from coldlens.evaluation.evaluation import PREFIX, Evaluation
from coldlens.evaluation.generation import Generation
from coldlens.evaluation.metrics import Metric, choose_metrics
from coldlens.evaluation.questions import Questions, Reading, require_motion, require_read_back
from coldlens.examples.batch import BOTH, Side
from coldlens.examples.example import Example, ExampleSet
from coldlens.examples.positions import Positions, check_positions
from coldlens.examples.tokens import Encoded, encode
from coldlens.models.guards import require_decoder, require_eval
from coldlens.steering.provenance import provenance
from coldlens.steering.steering import Steering


@torch.inference_mode(False)
def evaluate(
    model: TransformerBridge,
    examples: ExampleSet | Iterable[Example],
    steering: Steering | None = None,
    layer: SupportsIndex | Sequence[SupportsIndex] | None = None,
    eta: float | int = 1.0,
    positions: Positions = "prompt",
    metrics: Sequence[str | Metric] | None = None,
    *,
    generation: Generation | None = None,
    batch_size: int = 16,
    progress: bool = False,
) -> Evaluation:
    """Measures a model on questions, without steering and with it.

    ```python
    evaluate(model, test, steering, layer=2, eta=1.0).summary
    evaluate(model, facts, steering, layer=2, eta=1.0, metrics=["choice", "kl"])  # side effects
    ```

    Args:
        model: The model.
        examples: The questions.
        steering: The steering; None to measure the model itself.
        layer: The steered layer, or several, each given the earlier ones.
        eta: Step size; +eta moves towards the behaviour.
        positions: Where, as in `Steering.apply`. Completions count as generated text.
        metrics: `"choice"`, `"preference"`, `"distribution"`, `"kl"`, `"perplexity"`, or instances
            of `Metric`; None for those that fit the questions.
        generation: Also answer each prompt in free text, and score it.
        batch_size: Questions a batch; it changes memory and speed, not results.
        progress: Show a progress bar.

    Returns:
        A table with one row a question and its summary with intervals.

    Raises:
        ArgumentError: If layer and steering do not go together, or generation is no `Generation`.
    """
    require_decoder(model)
    require_eval(model)
    check_positions(positions, generating=True)
    chosen = ExampleSet.of(examples)
    encoded = encode(model, chosen)
    measured = choose_metrics(metrics, chosen, encoded)
    layers = _layers(model, steering, layer)
    finite("eta", eta)
    at_least(1, "batch_size", batch_size)
    if generation is not None and not isinstance(generation, Generation):
        raise ArgumentError(
            expected="a Generation, or None",
            found=f"generation = {generation!r}",
            fix="Pass Generation(judge), or Generation() to keep the text unscored",
        )
    if steering is not None:
        require_read_back(positions, chosen.name, encoded, sides_read(measured))
    pieces = []
    for batch in tqdm(list(cut(encoded, batch_size)), desc="questions", disable=not progress):
        questions = Questions(
            model, [encoded[index] for index in batch], sides_read(measured), layers or (0,)
        )
        found = {"question": torch.tensor(batch)}
        before = columns(measured, questions.unsteered, questions.unsteered)
        if steering is None:
            found |= before
        else:
            reading = _steered(questions, steering, layers, float(eta), positions)
            found |= columns(measured, reading, questions.unsteered)
            found |= {PREFIX + name: values for name, values in before.items()}
        pieces.append(pd.DataFrame({name: values.cpu() for name, values in found.items()}))
    table = pd.concat(pieces).sort_values("question", ignore_index=True)
    if generation is not None:
        prompts = [one.prompt for one in encoded]
        answers = generation.measure(model, prompts, progress=progress)
        if steering is not None:
            table = table.assign(**{PREFIX + name: values for name, values in answers.items()})
            answers = generation.measure(
                model,
                prompts,
                steering,
                layer=layers,
                eta=float(eta),
                positions=positions,
                progress=progress,
            )
        table = table.assign(**answers)
    record = provenance(
        model,
        chosen,
        method="evaluate",
        settings=", ".join(repr(metric) for metric in measured),
        formula=1,
        scale="not applicable",
        positions=str(positions),
    )
    about = {
        **record.as_dict(),
        "method": None if steering is None else steering.provenance.method,
        "steering": None if steering is None else steering.provenance.as_dict(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "layers": list(layers),
        "eta": float(eta),
    }
    return Evaluation(table, about)


def check_questions(model: TransformerBridge, questions: ExampleSet, positions: Positions) -> None:
    """Checks that questions can be measured with the default metrics, before a steering is fitted.

    Args:
        model: The model.
        questions: The questions.
        positions: Where it will be steered.
    """
    encoded = encode(model, questions)
    sides = sides_read(choose_metrics(None, questions, encoded))
    require_read_back(positions, questions.name, encoded, sides)


def cut(encoded: Sequence[Encoded], batch_size: int) -> Iterable[list[int]]:
    """Cuts questions into batches of similar length.

    Args:
        encoded: The questions' tokens.
        batch_size: Questions a batch.

    Returns:
        The places of the questions of each batch.
    """
    order = sorted(range(len(encoded)), key=lambda index: len(encoded[index].sequence("positive")))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def sides_read(metrics: Sequence[Metric]) -> tuple[Side, ...]:
    """Returns the completions that some metric reads."""
    wanted = {side for metric in metrics for side in metric.sides}
    return tuple(side for side in BOTH if side in wanted)


def columns(
    metrics: Sequence[Metric], reading: Reading, unsteered: Reading
) -> dict[str, torch.Tensor]:
    """Returns what all metrics measure on a batch, by column."""
    found: dict[str, torch.Tensor] = {}
    for metric in metrics:
        found |= metric.measure(reading, unsteered)
    return found


def _steered(
    questions: Questions,
    steering: Steering,
    layers: tuple[int, ...],
    eta: float,
    positions: Positions,
) -> Reading:
    if len(layers) > 1:
        return questions.steered_jointly(steering, layers, eta, positions)
    changes = questions.displacements(steering, layers)
    require_motion(changes)
    ((layer, change),) = changes.items()
    (reading,) = questions.steered(change, layer, [eta], positions)
    return reading


def _layers(
    model: TransformerBridge,
    steering: Steering | None,
    layer: SupportsIndex | Sequence[SupportsIndex] | None,
) -> tuple[int, ...]:
    if steering is None:
        if layer is not None:
            raise ArgumentError(
                expected="a layer only with a steering",
                found=f"layer={layer} and steering=None",
                fix="Pass the steering too, or leave layer out to measure the model itself",
            )
        return ()
    if layer is None:
        raise ArgumentError(
            expected="the layer to steer",
            found="layer=None",
            fix=f"Choose among the fitted layers {list(steering.layers)}, or sweep over them",
        )
    if not isinstance(steering, Steering):
        raise ArgumentError(
            expected="a fitted steering",
            found=repr(steering),
            fix="Fit a method first, as in ColdFD().fit(model, examples)",
        )
    steering.check_model(model)
    wanted = list(layer) if isinstance(layer, Iterable) else [layer]
    if not wanted:
        raise ArgumentError(
            expected="at least one layer to steer",
            found="none",
            fix=f"Choose among the fitted layers {list(steering.layers)}",
        )
    places = {steering.place(one) for one in wanted}
    return tuple(steering.layers[place] for place in sorted(places))
