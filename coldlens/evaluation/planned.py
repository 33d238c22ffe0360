"""An evaluation whose arguments are checked, before any work."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import SupportsIndex

import pandas as pd
import torch
from tqdm.auto import tqdm
from transformer_lens.model_bridge import TransformerBridge

from coldlens.checks import at_least, finite
from coldlens.errors import ArgumentError
from coldlens.evaluation.clusters import with_clusters
from coldlens.evaluation.columns import PREFIX
from coldlens.evaluation.evaluation import Evaluation
from coldlens.evaluation.generation import Generation
from coldlens.evaluation.measuring import cut, measured, sides_read
from coldlens.evaluation.metrics import Metric, choose_metrics
from coldlens.evaluation.questions import Questions, Reading, require_motion, require_read_back
from coldlens.examples.batch import pad
from coldlens.examples.example import Example, ExampleSet
from coldlens.examples.positions import Positions, check_positions
from coldlens.examples.tokens import Encoded, encode
from coldlens.models.generate import require_room
from coldlens.models.guards import require_decoder, require_eval
from coldlens.steering.intervention import prompt_positions
from coldlens.steering.provenance import provenance
from coldlens.steering.steering import Steering


@dataclass(frozen=True, eq=False)
class CheckedEvaluation:
    """A checked evaluation, before any work; see `evaluate`.

    Attributes:
        model: The model.
        examples: The questions.
        encoded: Their tokens.
        metrics: What is measured.
        steering: The steering, or None.
        layers: The steered layers, ascending.
        eta: Step size.
        positions: Where.
        generation: How answers are generated, or None.
        batch_size: Questions a batch.
    """

    model: TransformerBridge
    examples: ExampleSet
    encoded: list[Encoded]
    metrics: list[Metric]
    steering: Steering | None
    layers: tuple[int, ...]
    eta: float
    positions: Positions
    generation: Generation | None
    batch_size: int

    def run(self, progress: bool = False) -> Evaluation:
        """Measures.

        Args:
            progress: Show a progress bar.

        Returns:
            The evaluation.
        """
        table = self._measured(progress)
        if self.generation is not None:
            table = self._answered(self.generation, table, progress)
        record = provenance(
            self.model,
            self.examples,
            method="evaluate",
            settings=", ".join(repr(metric) for metric in self.metrics),
            formula=1,
            scale="not applicable",
            positions=str(self.positions),
        )
        steering = self.steering
        about = {
            **record.as_dict(),
            "method": None if steering is None else steering.provenance.method,
            "steering": None if steering is None else steering.provenance.as_dict(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "layers": list(self.layers),
            "eta": self.eta,
        }
        return Evaluation(table, about)

    def _measured(self, progress: bool) -> pd.DataFrame:
        sides, steering, pieces = sides_read(self.metrics), self.steering, []
        batches = list(cut(self.encoded, self.batch_size))
        for batch in tqdm(batches, desc="questions", disable=not progress):
            chosen = [self.encoded[index] for index in batch]
            questions = Questions(self.model, chosen, sides, self.layers or (0,))
            plain = questions.unsteered
            found = {"question": torch.tensor(batch)}
            before = measured(self.metrics, plain, plain)
            if steering is None:
                found |= before
            else:
                reading = _steered(questions, steering, self.layers, self.eta, self.positions)
                found |= measured(self.metrics, reading, plain)
                found |= {PREFIX + name: values for name, values in before.items()}
            pieces.append(pd.DataFrame({name: values.cpu() for name, values in found.items()}))
        table = pd.concat(pieces).sort_values("question", ignore_index=True)
        return with_clusters(table, self.examples.clusters)

    def _answered(
        self, generation: Generation, table: pd.DataFrame, progress: bool
    ) -> pd.DataFrame:
        prompts = [one.prompt for one in self.encoded]
        answers = generation.measure(self.model, prompts, progress=progress)
        if self.steering is not None:
            table = table.assign(**{PREFIX + name: values for name, values in answers.items()})
            answers = generation.measure(
                self.model,
                prompts,
                self.steering,
                layer=self.layers,
                eta=self.eta,
                positions=self.positions,
                progress=progress,
            )
        return table.assign(**answers)


def planned(
    model: TransformerBridge,
    examples: ExampleSet | Iterable[Example],
    steering: Steering | None = None,
    layer: SupportsIndex | Sequence[SupportsIndex] | None = None,
    eta: float | int = 1.0,
    positions: Positions = "prompt",
    metrics: Sequence[str | Metric] | None = None,
    generation: Generation | None = None,
    batch_size: int = 16,
    encoded: list[Encoded] | None = None,
) -> CheckedEvaluation:
    """Checks all that can be known before an evaluation starts.

    Args:
        model: As in `evaluate`.
        examples: As in `evaluate`.
        steering: As in `evaluate`.
        layer: As in `evaluate`.
        eta: As in `evaluate`.
        positions: As in `evaluate`.
        metrics: As in `evaluate`.
        generation: As in `evaluate`.
        batch_size: As in `evaluate`.
        encoded: The tokens of the examples where they are known; None to make them.

    Returns:
        The evaluation, which `run` measures.

    Raises:
        ArgumentError: If layer and steering do not go together, or generation is no `Generation`.
    """
    require_decoder(model)
    require_eval(model)
    check_positions(positions, generating=True)
    chosen = ExampleSet.of(examples)
    encoded = encode(model, chosen) if encoded is None else encoded
    wanted = choose_metrics(metrics, chosen, encoded)
    layers = _layers(model, steering, layer)
    finite("eta", eta)
    at_least(1, "batch_size", batch_size)
    prompts = [one.prompt for one in encoded]
    if generation is not None:
        if not isinstance(generation, Generation):
            raise ArgumentError(
                expected="a Generation, or None",
                found=f"generation = {generation!r}",
                fix="Pass Generation(judge), or Generation() to keep the text unscored",
            )
        require_room(model, prompts, generation.max_new_tokens)
    if steering is not None:
        require_read_back(positions, chosen.name, encoded, sides_read(wanted))
        prompt_positions(positions, pad(prompts)[1])
    return CheckedEvaluation(
        model,
        chosen,
        encoded,
        wanted,
        steering,
        layers,
        float(eta),
        positions,
        generation,
        batch_size,
    )


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
    return steering.chosen(layer)
