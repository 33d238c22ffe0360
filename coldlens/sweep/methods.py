"""What a sweep compares: methods, in-context learning and the unsteered model."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from transformer_lens.model_bridge import TransformerBridge

from coldlens.checks import above_zero
from coldlens.compare.choose import choose_methods
from coldlens.directions import Method, Random
from coldlens.errors import ArgumentError, ExampleError
from coldlens.examples.example import ExampleSet
from coldlens.examples.in_context import in_context
from coldlens.losses import Loss, default_loss, sides_of

logger = logging.getLogger(__name__)

BASE = "base"
"""The label of the unsteered model."""

PAPER: tuple[str, ...] = (
    *("DiffMean", "RepE", "ICV", "Probe", "ReFTVector", "ReFTMLP", "BiPO"),
    *("InContext", "ColdKernel", "ColdFD", "FineTune", "Random"),
)
"""What `sweep` compares unless told otherwise: the baselines of the paper and its methods."""


@dataclass(frozen=True)
class InContext:
    """No steering: demonstrations before each question.

    Attributes:
        k: At most so many, the first of the examples drawn; fewer where the context is short.
    """

    k: int = 8

    def __post_init__(self) -> None:
        """Checks k."""
        above_zero("k", self.k)

    @property
    def label(self) -> str:
        """The name in tables."""
        return "InContext" if self.k == InContext.k else f"InContext(k={self.k})"

    def prompts(
        self, model: TransformerBridge, demonstrations: ExampleSet, questions: ExampleSet
    ) -> ExampleSet:
        """Puts as many demonstrations before each question as fit.

        Args:
            model: The model.
            demonstrations: The examples.
            questions: The questions.

        Returns:
            The questions with longer prompts.

        Raises:
            ExampleError: If not even one fits.
        """
        most = min(self.k, len(demonstrations))
        for k in range(most, 1, -1):
            try:
                return in_context(model, demonstrations, questions, k)
            except ExampleError:
                continue
        return in_context(model, demonstrations, questions, 1)


Compared = Method | InContext


def settings_of(
    methods: Sequence[str | Compared],
    losses: Mapping[str, Loss] | None,
    train: ExampleSet,
    scale: str,
) -> dict[str, dict[str, Compared]]:
    """Says which methods run under which loss.

    A method that does not depend on the loss runs once, in the first setting. `Random` takes its
    length alone from the loss, so it depends on none where lengths are relative.

    Args:
        methods: Names and instances.
        losses: The losses by the name of their setting; None for the default loss of the
            examples, as setting `"default"`.
        train: The training examples. Losses and methods that need negatives are left out where
            there are none.
        scale: Whether step sizes are `"relative"` or `"raw"`.

    Returns:
        Methods by label, by setting.

    Raises:
        ArgumentError: If a method is named twice or unknown, or there is none.
        ExampleError: If the examples fit no loss.
    """
    others = [InContext() if one == "InContext" else one for one in methods]
    contexts = {one.label: one for one in others if isinstance(one, InContext)}
    plain = [one for one in others if not isinstance(one, InContext)]
    if len(contexts) + len(plain) < len(others) or not others:
        raise ArgumentError(
            expected="at least one method, and each once",
            found="InContext twice" if others else "none",
            fix="Pass methods=None for those of the paper",
        )
    wanted = {"default": default_loss(train)} if losses is None else losses
    found: dict[str, dict[str, Compared]] = {}
    misfit: ExampleError | None = None
    for setting, loss in wanted.items():
        try:
            sides_of(loss, train)
        except ExampleError as error:
            misfit = error
            logger.warning("%s: left out %s: %s", train.name, setting, error)
            continue
        labelled = choose_methods(plain, train, loss, 0)[0] if plain else {}
        found[setting] = {
            label: method
            for label, method in (labelled | contexts).items()
            if not any(_repeats(method, earlier.get(label), scale) for earlier in found.values())
            and _fits(method, train)
        }
    if not found and misfit is not None:
        raise misfit
    return found


def seeded(
    methods: Mapping[str, Compared], seed: int, named: Collection[str]
) -> dict[str, Compared]:
    """Gives the methods that were given by name and have a seed that of a unit.

    Args:
        methods: The methods by label.
        seed: The seed.
        named: The names.

    Returns:
        The methods by label, which stays the name, as it is without loss and seed.
    """
    return {
        label: replace(method, **{"seed": seed})
        if label in named and hasattr(method, "seed")
        else method
        for label, method in methods.items()
    }


def _repeats(method: Compared, earlier: Compared | None, scale: str) -> bool:
    if scale == "relative" and isinstance(method, Random) and isinstance(earlier, Random):
        return method.seed == earlier.seed
    return method == earlier


def _fits(method: Compared, train: ExampleSet) -> bool:
    if isinstance(method, Method) and method.needs_pairs and not train.paired:
        logger.warning("%s: left out %s, which needs negatives", train.name, method.label)
        return False
    return True
