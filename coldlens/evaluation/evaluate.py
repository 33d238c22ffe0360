"""`evaluate`: what steering does to a set of questions, one row a question."""

from collections.abc import Iterable, Sequence
from typing import SupportsIndex

import torch
from transformer_lens.model_bridge import TransformerBridge

from coldlens.evaluation.evaluation import Evaluation
from coldlens.evaluation.generation import Generation
from coldlens.evaluation.metrics import Metric
from coldlens.evaluation.planned import planned
from coldlens.examples.example import Example, ExampleSet
from coldlens.examples.positions import Positions
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
        A table with one row a question and its summary with intervals, over questions or, where
        the examples have `clusters`, over these.

    Raises:
        ArgumentError: If layer and steering do not go together, or generation is no `Generation`.
    """
    checked = planned(
        model, examples, steering, layer, eta, positions, metrics, generation, batch_size
    )
    return checked.run(progress)
