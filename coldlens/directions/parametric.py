"""What the methods that move the parameters along a gradient share."""

from dataclasses import dataclass, field

from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture import Needs
from coldlens.directions.method import Method
from coldlens.examples.example import ExampleSet
from coldlens.gradients import Form
from coldlens.gradients.form import Kind
from coldlens.losses import Loss, default_loss, sides_of
from coldlens.models.guards import require_eager, require_raw


@dataclass(frozen=True)
class GradientMethod(Method):
    """A method that keeps the gradient of a loss, in one of several forms.

    Attributes:
        gradient: `"dense"`: a tensor a parameter, as large as the weights. `"factored"`: for the
            linear maps the inputs and the gradients of the outputs at the example tokens: exact,
            and no weight is copied. `"low_rank"`: these, truncated. `"auto"`: the smaller of the
            first two, or low-rank where `max_memory` forbids that.
        rank: The most outer products a matrix keeps in low rank.
        tolerance: Without a rank: the share of a matrix, in Frobenius norm, that each truncation
            may leave out, 0.01 by default. The sum over examples is truncated after each batch,
            so that over many batches several such shares add up; `steering.truncation` has the
            error that came of it, at some prompts of the examples. That of other prompts is
            within a factor of two of it where they are like the fitted ones; where they are not,
            as random tokens, it was up to three times as large.
        max_memory: What fitting may take beside the loaded model, in bytes, for `"auto"`: the
            gradient, and of one batch the activations and their graph, logits, output gradients
            and own outer products. It is estimated from trials on a few tokens and said first
            (`logging`, or beside the progress bar). As many examples a batch as fit are taken, up
            to the `batch_size`; an exact form with smaller batches comes before low rank, and less
            than one example is an error that says what would do. Of the budget 17 MB and three
            eighths of the rest are for what a process holds over its tensors. Where methods share
            a pass, the least of their budgets holds for the pass with the gradients of all of
            them. What using the steering takes is not counted. The trials call the loss some more
            times, on examples of repeated tokens; where the number of operations depends on the
            length, two of the longest examples are run whole. Measured on a CPU with glibc only.
    """

    gradient: Kind = field(default="auto", kw_only=True)
    rank: int | None = field(default=None, kw_only=True)
    tolerance: float | None = field(default=None, kw_only=True)
    max_memory: float | int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Checks that the settings of the form fit each other."""
        _ = self.form

    @property
    def form(self) -> Form:
        """The form of the gradient."""
        return Form(self.gradient, self.rank, self.tolerance, self.max_memory)

    def check(self, model: TransformerBridge, examples: ExampleSet) -> None:
        """Also checks that the parameters are the model's own."""
        super().check(model, examples)
        require_raw(model, self.label)
        if self.form.may_truncate:
            require_eager(model, f"{self.label}, which measures what a truncation does")


def parameter_needs(loss: Loss | None, examples: ExampleSet, form: Form | None = None) -> Needs:
    """Says that a method needs g, after checking that the examples have what the loss reads.

    Args:
        loss: The loss, or None for the default.
        examples: The examples.
        form: In which form; None for tensors.

    Returns:
        The needs.
    """
    chosen = loss or default_loss(examples)
    sides_of(chosen, examples)
    return Needs(parameter_gradients=frozenset({(chosen, form) if form else chosen}))
