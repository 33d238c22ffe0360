"""The losses of an example, whose gradients COLD-Steer follows.

A loss maps logits and a batch to one number per example. Anything callable as
`loss(logits, batch) -> [example]` will do; the classes here add which completions they read.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from coldlens.checks import above_zero, one_of
from coldlens.errors import ArgumentError, ExampleError
from coldlens.examples.batch import BOTH, Batch, Side
from coldlens.examples.example import ExampleSet
from coldlens.examples.positions import select

Reduction = Literal["mean", "sum"]
Reference = Literal["none", "self"]
Loss = Callable[[Tensor, Batch], Tensor]
"""(logits [row pos vocab], batch) → loss of each example, shape [example]."""


@dataclass(frozen=True)
class CrossEntropy:
    """ℓᵢ = −mean_t log p(yᵢ⁺[t] | xᵢ, yᵢ⁺[<t]): the loss for positive-only data.

    Attributes:
        reduction: Mean or sum over the completion's tokens.
    """

    reduction: Reduction = "mean"
    sides: ClassVar[tuple[Side, ...]] = ("positive",)
    reads_completion: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Checks the reduction."""
        one_of("reduction", self.reduction, get_args(Reduction))

    def __call__(
        self, logits: Float[Tensor, "row pos vocab"], batch: Batch
    ) -> Float[Tensor, " example"]:
        """Returns the loss of each example."""
        return -completion_log_probs(logits, batch, "positive", self.reduction)


@dataclass(frozen=True)
class NegativeCrossEntropy:
    """ℓᵢ = +mean_t log p(yᵢ⁻[t] | xᵢ, yᵢ⁻[<t]): unlearn the negative completions only.

    Attributes:
        reduction: Mean or sum over the completion's tokens.
    """

    reduction: Reduction = "mean"
    sides: ClassVar[tuple[Side, ...]] = ("negative",)
    reads_completion: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Checks the reduction."""
        one_of("reduction", self.reduction, get_args(Reduction))

    def __call__(
        self, logits: Float[Tensor, "row pos vocab"], batch: Batch
    ) -> Float[Tensor, " example"]:
        """Returns the loss of each example."""
        return completion_log_probs(logits, batch, "negative", self.reduction)


@dataclass(frozen=True)
class DPO:
    """ℓᵢ = −log σ(β (m(yᵢ⁺) − m(yᵢ⁻) − reference)), Rafailov et al. 2023, equation 7.

    m is the mean log-probability of a completion, as in the public code of COLD-Steer, or the
    sum, as in Rafailov et al.; the gradient flows through both completions. With
    `reference="self"` the reference is the model itself: the value is log 2, the gradient
    −(β/2) ∇(m⁺ − m⁻), and the direction does not depend on β. Called by itself the loss takes
    the model that gave the logits; the methods that take several steps take the unsteered model
    at θ₀ throughout, so that their losses leave log 2 and β counts from the second step on.

    Attributes:
        beta: The temperature β > 0.
        reference: `"none"` (no reference model, as the paper) or `"self"`.
        normalize: `"mean"` or `"sum"` over the completion's tokens.
    """

    beta: float = 0.1
    reference: Reference = "none"
    normalize: Reduction = "mean"
    sides: ClassVar[tuple[Side, ...]] = BOTH
    reads_completion: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Checks the settings."""
        above_zero("beta", self.beta)
        one_of("reference", self.reference, get_args(Reference))
        one_of("normalize", self.normalize, get_args(Reduction))

    def margin(
        self, logits: Float[Tensor, "row pos vocab"], batch: Batch
    ) -> Float[Tensor, " example"]:
        """Returns m(yᵢ⁺) − m(yᵢ⁻) of each example, in nats."""
        positive = completion_log_probs(logits, batch, "positive", self.normalize)
        return positive - completion_log_probs(logits, batch, "negative", self.normalize)

    def __call__(
        self, logits: Float[Tensor, "row pos vocab"], batch: Batch
    ) -> Float[Tensor, " example"]:
        """Returns the loss of each example."""
        margin = self.margin(logits, batch)
        if self.reference == "self":
            margin = margin - margin.detach()
        return -logsigmoid(self.beta * margin)


@dataclass(frozen=True)
class ContrastiveSquaredError:
    """ℓᵢ = −½ ‖Z̄_l(xᵢ⊕yᵢ⁺) − sg(Z̄_l(xᵢ⊕yᵢ⁻))‖², Z̄ the mean over the completion's tokens.

    It reads the residual stream of a layer, not the logits, so each layer has its own loss. Under
    it COLD-Kernel with κ = 1, summed over the answer positions, is DiffMean. Without the
    stop-gradient sg the two sequences' gradients cancel.

    Attributes:
        stop_gradient: Whether the negative side is a constant.
    """

    stop_gradient: bool = True
    sides: ClassVar[tuple[Side, ...]] = BOTH
    reads_residual: ClassVar[bool] = True

    def __call__(
        self, residual: Float[Tensor, "row pos d"], batch: Batch
    ) -> Float[Tensor, " example"]:
        """Returns the loss of each example, from the residual stream of one layer."""
        accurate = residual.to(torch.promote_types(residual.dtype, torch.float32))
        mean = masked_mean(accurate, batch.answer_mask)
        negative = mean[batch.rows("negative")]
        if self.stop_gradient:
            negative = negative.detach()
        return -0.5 * (mean[batch.rows("positive")] - negative).square().sum(-1)


@dataclass(frozen=True)
class OptionDistribution:
    """ℓᵢ = −Σ_k qᵢ[k] log softmax(u)[k], u the logits of the option tokens after the prompt.

    The cross-entropy between the answers of a group and the model's choice among the options;
    its least value is the entropy of qᵢ, and its gradient that of the KL divergence. No other
    token counts.
    """

    sides: ClassVar[tuple[Side, ...]] = ("positive",)
    reads_options: ClassVar[bool] = True
    reads_completion: ClassVar[bool] = True

    def __call__(
        self, logits: Float[Tensor, "row pos vocab"], batch: Batch
    ) -> Float[Tensor, " example"]:
        """Returns the loss of each example."""
        log_probs = option_log_probs(logits, batch)
        assert batch.option_mask is not None
        assert batch.distribution is not None
        shares = batch.distribution.to(log_probs.dtype)
        return -(shares * log_probs.masked_fill(~batch.option_mask, 0)).sum(-1)


def option_log_probs(
    logits: Float[Tensor, "row pos vocab"], batch: Batch
) -> Float[Tensor, "example option"]:
    """Returns the log-probability of each option among the options of its example, in nats.

    Args:
        logits: The model's logits at every position.
        batch: The batch they belong to, with positive completions.

    Returns:
        One value an option, in float32 or better; −∞ at padding.

    Raises:
        ExampleError: If an example of the batch has no options.
    """
    if batch.option_ids is None or batch.option_mask is None:
        raise ExampleError(
            expected="options in every example of the batch",
            found="examples without",
            fix="Give every example options and a distribution",
        )
    rows = batch.rows("positive")
    predicts = select("last_prompt", batch.prompt_mask[rows], batch.answer_mask[rows])
    chosen = logits[rows][predicts].gather(1, batch.option_ids)
    chosen = chosen.to(torch.promote_types(chosen.dtype, torch.float32))
    return chosen.masked_fill(~batch.option_mask, float("-inf")).log_softmax(-1)


def completion_log_probs(
    logits: Float[Tensor, "row pos vocab"],
    batch: Batch,
    side: Side,
    reduction: Reduction = "mean",
) -> Float[Tensor, " example"]:
    """Returns the log-probability of each example's completion on one side, in nats.

    Only the positions that predict a completion token are normalised over the vocabulary, in
    float32 or better.

    Args:
        logits: The model's logits at every position.
        batch: The batch they belong to.
        side: Which completion.
        reduction: Mean or sum over the completion's tokens.

    Returns:
        One value an example.
    """
    rows = batch.rows(side)
    return answer_log_probs(logits[rows][batch.predicting[rows]], batch, side, reduction)


def answer_log_probs(
    logits: Float[Tensor, "token vocab"],
    batch: Batch,
    side: Side,
    reduction: Reduction = "mean",
) -> Float[Tensor, " example"]:
    """Returns the same as `completion_log_probs`, from no other logits than it reads.

    Args:
        logits: The logits at the tokens of one side that predict a token of the completion, row
            after row.
        batch: The batch they belong to.
        side: Which completion.
        reduction: Mean or sum over the completion's tokens.

    Returns:
        One value an example.
    """
    rows = batch.rows(side)
    target = batch.answer_mask[rows]
    chosen = logits.to(torch.promote_types(logits.dtype, torch.float32))
    gathered = chosen.log_softmax(-1).gather(-1, batch.tokens[rows][target].unsqueeze(-1))
    row_of = target.nonzero()[:, 0]
    total = chosen.new_zeros(batch.size).index_add(0, row_of, gathered.squeeze(-1))
    return total / target.sum(1) if reduction == "mean" else total


def masked_mean(
    values: Float[Tensor, "row pos d"], mask: Bool[Tensor, "row pos"]
) -> Float[Tensor, "row d"]:
    """Averages over the selected positions of each row.

    Args:
        values: A vector a position.
        mask: Which positions count, at least one a row.

    Returns:
        The means.
    """
    return (values * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)


def reads_residual(loss: Any) -> bool:
    """Returns whether a loss is a function of a layer's residual stream, not of the logits."""
    return getattr(loss, "reads_residual", False)


def reads_completion(loss: Any) -> bool:
    """Returns whether a loss reads no logits but those that predict a token after the prompt.

    It then gives the same with the rest of the prompt cut off, so that no others are computed.
    """
    return getattr(loss, "reads_completion", False)


def sides_of(loss: Any, examples: ExampleSet) -> tuple[Side, ...]:
    """Returns the completions that a loss reads; a plain callable gets all there are.

    Args:
        loss: The loss.
        examples: The examples.

    Returns:
        The sides.

    Raises:
        ArgumentError: If it is no loss, or cannot be hashed.
        ExampleError: If the loss reads negatives or answers of a group, and some example has none.
    """
    if isinstance(loss, type) or not callable(loss):
        raise ArgumentError(
            expected="a loss such as DPO(), or a function (logits, batch) -> loss per example",
            found=repr(loss),
            fix="Pass an instance, not a class or a name",
        )
    if getattr(type(loss), "__hash__", None) is None:
        raise ArgumentError(
            expected="a loss that can be hashed, so that methods can share its gradients",
            found=f"{loss_name(loss)}, which cannot",
            fix="Use a function, or @dataclass(frozen=True)",
        )
    available: tuple[Side, ...] = BOTH if examples.paired else ("positive",)
    sides: Sequence[Side] = getattr(loss, "sides", available)
    if "negative" in sides:
        require_paired(examples, loss_name(loss))
    if getattr(loss, "reads_options", False):
        require_options(examples, loss_name(loss))
    return tuple(sides)


def require_paired(examples: ExampleSet, what: str) -> None:
    """Checks that every example has a negative completion.

    Args:
        examples: The examples.
        what: What needs it, for the message.

    Raises:
        ExampleError: If one has none.
    """
    missing = [index for index, example in enumerate(examples) if not example.paired]
    if missing:
        raise ExampleError(
            expected=f"a negative completion in every example for {what}",
            found=f"none in {len(missing)} of {len(examples)}, first at index {missing[0]}",
            fix="Add negatives, or use a positive-only method such as ColdFD(loss=CrossEntropy())",
        )


def require_options(examples: ExampleSet, what: str) -> None:
    """Checks that every example has options and their distribution.

    Args:
        examples: The examples.
        what: What needs them, for the message.

    Raises:
        ExampleError: If one has none.
    """
    missing = [index for index, example in enumerate(examples) if example.options is None]
    if missing:
        raise ExampleError(
            expected=f"options and a distribution in every example for {what}",
            found=f"none in {len(missing)} of {len(examples)}, first at index {missing[0]}",
            fix="Build them with Example(prompt, options=..., distribution=...), or load a group "
            "such as 'demo/groups/farmer'",
        )


def default_loss(examples: ExampleSet) -> Loss:
    """Returns the paper's loss: DPO for paired data, cross-entropy for positive-only data.

    Where every example has a group's answer distribution, it is `OptionDistribution`.
    """
    if all(example.distribution is not None for example in examples):
        return OptionDistribution()
    return DPO() if examples.paired else CrossEntropy()


def loss_name(loss: Any) -> str:
    """Returns a loss's name with its settings, as it is stored beside results."""
    return getattr(loss, "__qualname__", None) or repr(loss)
