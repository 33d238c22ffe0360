"""Several steered layers: against the best single one, and against a step really taken."""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportGeneralTypeIssues=false, reportIndexIssue=false

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import brentq
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from analyses.step_tables import last_streams
from coldlens.evaluation import Evaluation, Metric, evaluate
from coldlens.evaluation.bootstrap import interval
from coldlens.evaluation.clusters import clusters_of
from coldlens.evaluation.columns import Columns
from coldlens.evaluation.questions import Reading
from coldlens.examples.batch import pad
from coldlens.examples.example import ExampleSet
from coldlens.models.forward import residuals
from coldlens.models.parameters import exchanged, parameters
from coldlens.models.resume import resumed
from coldlens.steering.intervention import Displacements, Intervention
from coldlens.steering.parametric import TangentSteering
from coldlens.steering.steering import Steering

_SMALL = 1e-6
Layers = tuple[int, ...]
_COLUMNS = (
    ("", "", "mean"),
    ("", "_low", "low"),
    ("", "_high", "high"),
    ("unsteered_", "", "unsteered"),
)


@dataclass(frozen=True, eq=False, repr=False)
class Separately(TangentSteering):
    """Displacements that do not know of each other: at several layers, effects count twice."""

    def field(
        self,
        tokens: Int[Tensor, "row pos"],
        attention_mask: Bool[Tensor, "row pos"],
        layers: Layers,
        intervention: Intervention | None = None,
    ) -> Displacements:
        """Returns the displacements of the unsteered model; see `Steering.field`."""
        return super().field(tokens, attention_mask, layers)


@dataclass(frozen=True)
class FromStep(Metric):
    """How far the answers are from those of a model that really took the step.

    Columns: `kl_from_step`, KL(stepped ‖ steered) after the prompt, in nats; `kl_from_stream`, the
    same with the model's own unembedding and final norm on top of the stepped residual stream, for
    no steering of a residual stream can move those.

    Attributes:
        model: The model.
        moved: Its parameters after the step, by name.
    """

    model: TransformerBridge = field(repr=False)
    moved: dict[str, Tensor] = field(repr=False)

    def measure(self, reading: Reading, unsteered: Reading) -> Columns:
        """Returns the divergences from the model that took the step."""
        tokens, mask = unsteered.batch.tokens, unsteered.batch.attention_mask
        last = len(self.model.blocks) - 1
        with torch.no_grad(), exchanged(self.model, self.moved):
            streams, stepped = residuals(self.model, tokens, mask, [last], logits=unsteered.read)
        assert stepped is not None
        with torch.no_grad():
            streamed = resumed(self.model, tokens, mask, last, streams[last], read=unsteered.read)
        return {
            name: _divergence(replace(unsteered, logits=logits), reading)
            for name, logits in (("kl_from_step", stepped), ("kl_from_stream", streamed))
        }


def _divergence(left: Reading, right: Reading) -> Float[Tensor, " question"]:
    return (left.answer.exp() * (left.answer - right.answer)).sum(-1).clamp(min=0)


def stepped(steering: TangentSteering, eta: float) -> dict[str, Tensor]:
    """Takes the step.

    Args:
        steering: −J_l(x) g.
        eta: η.

    Returns:
        θ − ηg by name of the parameters up to the deepest fitted layer.
    """
    known, moved = parameters(steering.model), {}
    for name, g in steering.direction.items():
        assert isinstance(g, Tensor), "the gradient is asked for in its dense form"
        moved[name] = known[name].tensor.detach() - eta * g
    return moved


def total_length(steering: Steering, layers: Layers, eta: float) -> float:
    """Measures Σ_l η‖Δ_l‖ / ‖Z_l‖ over steered layers.

    Args:
        steering: The steering.
        layers: The steered layers.
        eta: η.

    Returns:
        The sum of the means over the prompts of the fit, at their last tokens.
    """
    tokens, mask = pad(steering.prompts)
    changes = steering.field(tokens, mask, layers, Intervention(layers, eta, mask))
    rows, last = torch.arange(len(tokens)), mask.sum(1) - 1
    found = torch.stack([changes[layer][rows, last] for layer in layers])
    streams = last_streams(steering.model, steering.prompts, layers)
    return eta * (found.norm(dim=-1) / streams.norm(dim=-1)).mean(1).sum().item()


def eta_of(steering: Steering, layers: Layers, length: float) -> float:
    """Finds the η with a given total length.

    Args:
        steering: The steering.
        layers: The steered layers.
        length: The total length.

    Returns:
        η, to a thousandth.
    """

    def excess(eta: float) -> float:
        return total_length(steering, layers, eta) - length

    most = length / total_length(steering, layers, _SMALL) * _SMALL
    while excess(most) < 0:
        most *= 1.5
    return float(brentq(excess, 0.0, most, rtol=1e-3))


@dataclass(frozen=True)
class Questions:
    """What is asked.

    Attributes:
        validation: Questions by which a set of layers is chosen.
        test: Questions on which it is reported.
        facts: Unrelated questions.
    """

    validation: ExampleSet
    test: ExampleSet
    facts: ExampleSet


class LayerComparison:
    """Three ways to spend a total length, each on a few sets of layers."""

    def __init__(self, steering: TangentSteering, questions: Questions) -> None:
        """Prepares the comparison.

        Args:
            steering: −J_l(x) g.
            questions: What is asked.
        """
        self._model, self._questions = steering.model, questions
        separately = Separately(steering.origin, steering.direction)
        depth = len(steering.layers)
        pairs = [(layer, layer + 1) for layer in range(depth - 1)]
        several = [*pairs, tuple(range(depth))]
        self._ways: dict[str, tuple[TangentSteering, list[Layers]]] = {
            "single": (steering, [(layer,) for layer in range(depth)]),
            "jointly": (steering, several),
            "separately": (separately, several),
        }

    def tables(self, lengths: Sequence[float]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Compares the ways.

        Args:
            lengths: Total lengths relative to the residual stream.

        Returns:
            `layers`, a row a way, set of layers and length, where `chosen` marks the best set of a
            way on the validation questions; and `contrasts`, a row a length and way of several
            layers: the chosen set minus the chosen single layer, question by question.
        """
        rows, contrasts = [], []
        for length in lengths:
            best: dict[str, tuple[Evaluation, Evaluation]] = {}
            for way, (steering, sets) in self._ways.items():
                cells = [self._cell(steering, layers, length) for layers in sets]
                top = max(range(len(cells)), key=lambda place: cells[place][0]["validation"])
                best[way] = cells[top][1:]
                rows += [
                    {"way": way, "target": length, **row, "chosen": place == top}
                    for place, (row, *_) in enumerate(cells)
                ]
            contrasts += [
                {"way": way, "target": length, **_contrast(best[way], best["single"])}
                for way in ("jointly", "separately")
            ]
        return pd.DataFrame(rows), pd.DataFrame(contrasts)

    def closeness(self, etas: Sequence[float]) -> pd.DataFrame:
        """Compares the ways with a model that really took the step θ − ηg, at equal η.

        Args:
            etas: Values of η.

        Returns:
            A row a way, set of layers and η: the divergences of `FromStep` of the steered and of
            the unsteered model, after the test prompts, with 95 % bootstrap intervals over
            clusters of questions.
        """
        rows = []
        for eta in etas:
            for way, (steering, sets) in self._ways.items():
                metric = FromStep(self._model, stepped(steering, eta))
                for layers in sets:
                    found = evaluate(
                        self._model,
                        self._questions.test,
                        steering,
                        layers,
                        eta,
                        metrics=[metric],
                        batch_size=64,
                    ).summary
                    rows.append(
                        {
                            "way": way,
                            "layers": " ".join(map(str, layers)),
                            "eta": eta,
                            **{
                                f"{before}{name}{end}": found.loc[name, column]
                                for name in ("kl_from_step", "kl_from_stream")
                                for before, end, column in _COLUMNS
                            },
                        }
                    )
        return pd.DataFrame(rows)

    def _cell(
        self, steering: TangentSteering, layers: Layers, length: float
    ) -> tuple[dict[str, object], Evaluation, Evaluation]:
        eta = eta_of(steering, layers, length)

        def ask(questions: ExampleSet, *metrics: str) -> Evaluation:
            return evaluate(
                self._model, questions, steering, layers, eta, metrics=metrics, batch_size=64
            )

        asked = self._questions
        validation = ask(asked.validation, "choice").summary
        test = ask(asked.test, "choice")
        facts = ask(asked.facts, "choice", "kl")
        effect, side = test.summary, facts.summary
        row = {
            "layers": " ".join(map(str, layers)),
            "length": total_length(steering, layers, eta),
            "eta": eta,
            "validation": validation.loc["probability", "mean"],
            "unsteered": effect.loc["probability", "unsteered"],
            **{
                f"probability{end}": effect.loc["probability", name]
                for end, name in {"": "mean", "_low": "low", "_high": "high"}.items()
            },
            "accuracy": effect.loc["correct", "mean"],
            "facts_kl": side.loc["kl", "mean"],
            "facts_kl_low": side.loc["kl", "low"],
            "facts_kl_high": side.loc["kl", "high"],
            "facts_accuracy": side.loc["correct", "mean"],
            "facts_accuracy_change": side.loc["correct", "change"],
        }
        return row, test, facts


def _contrast(
    several: tuple[Evaluation, Evaluation], single: tuple[Evaluation, Evaluation]
) -> dict[str, float]:
    found: dict[str, float] = {}
    for place, column, name in (
        (0, "probability", "probability"),
        (1, "kl", "facts_kl"),
        (1, "correct", "facts_accuracy"),
    ):
        values = (several[place].table[column] - single[place].table[column]).to_numpy(dtype=float)
        low, high = interval(values, clusters_of(single[place].table))
        found |= {name: float(values.mean()), f"{name}_low": low, f"{name}_high": high}
    return found
