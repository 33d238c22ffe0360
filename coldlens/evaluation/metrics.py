"""What is measured on a question: each metric says what it reads and which columns it gives."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from coldlens.checks import one_of, several
from coldlens.errors import ArgumentError, ExampleError
from coldlens.evaluation.columns import Columns, require_names
from coldlens.evaluation.questions import Reading
from coldlens.examples.batch import BOTH, Side
from coldlens.examples.example import ExampleSet
from coldlens.examples.tokens import Encoded, Ids
from coldlens.losses import require_paired
from coldlens.words import counted


@dataclass(frozen=True)
class Metric(ABC):
    """A measurement of each question.

    To add one, write a frozen dataclass that has `sides` and `measure`, and pass an instance.

    Attributes:
        sides: The completions whose log-probabilities it reads; none for the prompt alone.
        columns: The columns that it gives, where they are known before it measures; no other
            metric may give them.
    """

    sides: ClassVar[tuple[Side, ...]] = ()
    columns: ClassVar[tuple[str, ...]] = ()

    def check(self, examples: ExampleSet, encoded: Sequence[Encoded]) -> None:  # noqa: B027
        """Checks the questions before any work starts; by default all will do.

        Args:
            examples: The questions.
            encoded: Their tokens.
        """

    @abstractmethod
    def measure(self, reading: Reading, unsteered: Reading) -> Columns:
        """Measures a batch of questions.

        Args:
            reading: The logits.
            unsteered: The logits of the same questions without steering.

        Returns:
            By column, a tensor of shape [question] with a real number each.
        """


@dataclass(frozen=True)
class Choice(Metric):
    """Whether the token of the matching answer is more probable than the other's.

    Source: Rimsky et al. 2024, "Steering Llama 2 via Contrastive Activation Addition". Columns:
    `correct` (1 or 0; ½ for a tie), `p_positive` and `p_negative` (over the vocabulary),
    `probability` (p⁺ / (p⁺ + p⁻)) and `logit_difference` (nats).
    """

    columns: ClassVar[tuple[str, ...]] = (
        "correct",
        "p_positive",
        "p_negative",
        "probability",
        "logit_difference",
    )

    def check(self, examples: ExampleSet, encoded: Sequence[Encoded]) -> None:
        """Also checks that the answers are two different single tokens.

        Args:
            examples: The questions.
            encoded: Their tokens.

        Raises:
            ExampleError: If an answer has several tokens, or both are the same.
        """
        require_paired(examples, "the metric 'choice'")
        for index, one in enumerate(encoded):
            sizes = {side: len(_completion(one, side)) for side in BOTH}
            if max(sizes.values()) > 1 or one.positive == one.negative:
                found = ", ".join(
                    f"{side} of {counted(size, 'token')}" for side, size in sizes.items()
                )
                raise ExampleError(
                    expected="two different answers of one token each for the metric 'choice'",
                    found=f"{found} in question {index}"
                    + (", the same token" if one.positive == one.negative else ""),
                    fix="Use metrics=['preference'], or prompts that end before a letter",
                )

    def measure(self, reading: Reading, unsteered: Reading) -> Columns:
        """Returns correctness, probabilities and logit difference."""
        ids = torch.tensor(
            [[_completion(one, side)[0] for side in BOTH] for one in reading.encoded],
            device=reading.answer.device,
        )
        positive, negative = reading.answer.gather(1, ids).unbind(1)
        difference = positive - negative
        return {
            "correct": (difference.sign() + 1) / 2,
            "p_positive": positive.exp(),
            "p_negative": negative.exp(),
            "probability": difference.sigmoid(),
            "logit_difference": difference,
        }


@dataclass(frozen=True)
class Preference(Metric):
    """Whether the matching completion has the higher mean log-probability, token by token.

    For models that cannot do multiple choice. Columns: `prefers` (1 or 0; ½ for a tie),
    `log_prob_positive`, `log_prob_negative` (nats a token) and `margin`.
    """

    columns: ClassVar[tuple[str, ...]] = (
        "prefers",
        "log_prob_positive",
        "log_prob_negative",
        "margin",
    )
    sides: ClassVar[tuple[Side, ...]] = BOTH

    def check(self, examples: ExampleSet, encoded: Sequence[Encoded]) -> None:
        """Also checks that every question has both completions."""
        require_paired(examples, "the metric 'preference'")

    def measure(self, reading: Reading, unsteered: Reading) -> Columns:
        """Returns the preference and the log-probabilities behind it."""
        positive, negative = (reading.completion(side) for side in BOTH)
        margin = positive - negative
        return {
            "prefers": (margin.sign() + 1) / 2,
            "log_prob_positive": positive,
            "log_prob_negative": negative,
            "margin": margin,
        }


@dataclass(frozen=True)
class Perplexity(Metric):
    """How well the model predicts the positive completion: a side effect on unrelated text.

    Column: `nll`, the mean negative log-probability of its tokens (nats); perplexity is its
    exponential.
    """

    columns: ClassVar[tuple[str, ...]] = ("nll",)
    sides: ClassVar[tuple[Side, ...]] = ("positive",)

    def measure(self, reading: Reading, unsteered: Reading) -> Columns:
        """Returns the mean negative log-probability of the completion."""
        return {"nll": -reading.completion("positive")}


@dataclass(frozen=True)
class Divergence(Metric):
    """How far steering moves the next-token distribution: a side effect on unrelated questions.

    Column: `kl`, KL(unsteered ‖ steered) after the prompt, in nats.
    """

    columns: ClassVar[tuple[str, ...]] = ("kl",)

    def measure(self, reading: Reading, unsteered: Reading) -> Columns:
        """Returns the divergence from the unsteered model."""
        old, new = unsteered.answer, reading.answer
        return {"kl": (old.exp() * (old - new)).sum(-1).clamp(min=0)}


@dataclass(frozen=True)
class Distribution(Metric):
    """How far the answers are from a group's answer distribution.

    The model's distribution is the softmax over the options' tokens. Columns:
    `total_variation` (½ Σ|q − p|, 0 to 1) and `kl_from_group` (KL(q ‖ p), nats), with q the
    group's.
    """

    columns: ClassVar[tuple[str, ...]] = ("total_variation", "kl_from_group")

    def check(self, examples: ExampleSet, encoded: Sequence[Encoded]) -> None:
        """Also checks that every question has options and a distribution.

        Args:
            examples: The questions.
            encoded: Their tokens.

        Raises:
            ExampleError: If one has none.
        """
        missing = [
            index
            for index, example in enumerate(examples)
            if example.options is None or example.distribution is None
        ]
        if missing:
            raise ExampleError(
                expected="options and a distribution in every question for the metric "
                "'distribution'",
                found=f"none in {len(missing)} of {len(examples)}, first at index {missing[0]}",
                fix="Load a group's questions, or give Example(options=…, distribution=…)",
            )

    def measure(self, reading: Reading, unsteered: Reading) -> Columns:
        """Returns total variation and divergence."""
        rows = []
        for row, one in zip(reading.answer, reading.encoded, strict=True):
            assert one.options is not None
            assert one.distribution is not None
            found = row[list(one.options)].log_softmax(-1)
            group = torch.tensor(one.distribution, dtype=row.dtype, device=row.device)
            terms = torch.where(group > 0, group * (group.log() - found), 0.0)
            rows.append(torch.stack([(found.exp() - group).abs().sum() / 2, terms.sum()]))
        distance, divergence = torch.stack(rows).unbind(1)
        return {"total_variation": distance, "kl_from_group": divergence}


METRICS: dict[str, type[Metric]] = {
    "choice": Choice,
    "preference": Preference,
    "distribution": Distribution,
    "kl": Divergence,
    "perplexity": Perplexity,
}
"""Every metric of logits by its name; `Generation` reads text."""


def choose_metrics(
    metrics: Sequence[str | Metric] | None, examples: ExampleSet, encoded: Sequence[Encoded]
) -> list[Metric]:
    """Turns a choice of metrics into instances, and checks that they fit the questions.

    Args:
        metrics: Names or instances; None for `distribution` where the questions have one, else
            `choice` where all answers are single tokens, else `preference`; and always `kl`.
        examples: The questions.
        encoded: Their tokens.

    Returns:
        The metrics.

    Raises:
        ArgumentError: If a name is unknown, there is none, or two give the same column.
    """
    if metrics is not None:
        several("metrics", metrics, "names and instances")
    chosen: list[Metric] = []
    for metric in _default(examples, encoded) if metrics is None else metrics:
        if not isinstance(metric, Metric) and not (isinstance(metric, str) and metric in METRICS):
            raise ArgumentError(
                expected=f"metrics among {', '.join(METRICS)}, or a Metric",
                found=repr(metric),
                fix="Open-ended answers are measured by Generation(judge)",
            )
        chosen.append(METRICS[metric]() if isinstance(metric, str) else metric)
    if not chosen:
        raise ArgumentError(
            expected="at least one metric", found="none", fix="Pass metrics=None for the default"
        )
    named: list[str] = []
    for metric in chosen:
        for side in metric.sides:
            one_of("sides", side, BOTH)
        require_names(metric, metric.columns, named)
        named += metric.columns
        metric.check(examples, encoded)
    return chosen


def _default(examples: ExampleSet, encoded: Sequence[Encoded]) -> list[str]:
    if all(example.distribution is not None for example in examples):
        return ["distribution", "kl"]
    if not examples.paired:
        return ["perplexity", "kl"]
    single = all(len(_completion(one, side)) == 1 for one in encoded for side in BOTH)
    return ["choice" if single else "preference", "kl"]


def _completion(one: Encoded, side: Side) -> Ids:
    return one.sequence(side)[len(one.prompt) :]
