"""What steering at equal lengths does to questions, method by method and layer by layer."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

from tqdm.auto import tqdm
from transformer_lens.model_bridge import TransformerBridge

from coldlens.compare.report import DirectionReport
from coldlens.directions import Method
from coldlens.evaluation import Evaluation, evaluate
from coldlens.examples.example import ExampleSet
from coldlens.steering.steering import Steering


def measure_steering(
    model: TransformerBridge,
    examples: ExampleSet,
    questions: ExampleSet,
    comparison: DirectionReport,
    methods: Mapping[str, Method],
    lengths: Sequence[float],
    layers: tuple[int, ...],
    *,
    progress: bool = False,
) -> dict[str, list[Evaluation]]:
    """Measures questions under displacements of the same lengths, at one layer at a time.

    Lengths of displacements differ by orders of magnitude between methods, so eta is set for each
    method and layer such that the mean displacement has the wanted length. Nothing is chosen by
    what is measured.

    Args:
        model: The model.
        examples: What the methods are fitted on.
        questions: Questions that are not among them.
        comparison: The comparison on these examples, for the size of the residual stream.
        methods: The methods by label.
        lengths: Lengths of η times the mean displacement, relative to the mean norm of the
            residual stream at the examples' last prompt token.
        layers: The layers.
        progress: Show a progress bar.

    Returns:
        By length, in words, an evaluation a method, named by label, and layer; a layer where the
        displacement is zero is left out.
    """
    table = comparison.table[comparison.table.norm > 0]
    streams = (table.norm / table.relative_norm).groupby(table.layer).mean()
    found: dict[str, list[Evaluation]] = {_words(length): [] for length in lengths}
    with tqdm(
        total=len(methods) * len(layers) * len(lengths), desc="steering", disable=not progress
    ) as bar:
        for label, method in methods.items():
            steering = method.fit(model, examples, layers)
            norms = _norms(steering)
            for layer, length in product(layers, lengths):
                if norms[layer] > 0:
                    eta = length * float(streams[layer]) / norms[layer]
                    one = evaluate(model, questions, steering, layer=layer, eta=eta)
                    named = replace(one, about={**one.about, "method": label})
                    found[_words(length)].append(named)
                bar.update()
    return found


def _norms(steering: Steering) -> dict[int, float]:
    """Returns the mean length of the displacements of the prompts, as `sweep` measures it."""
    lengths = steering.readings().norm(dim=-1).mean(1)
    return dict(zip(steering.layers, lengths.tolist(), strict=True))


def _words(length: float) -> str:
    return f"length {length:g} of the residual stream"
