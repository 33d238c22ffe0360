"""What a comparison will cost, said before it starts."""

from collections.abc import Mapping
from dataclasses import dataclass

from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture import Needs
from coldlens.directions import Method
from coldlens.examples.batch import pilot
from coldlens.examples.example import ExampleSet
from coldlens.examples.tokens import Encoded
from coldlens.models.guards import working_dtype
from coldlens.models.parameters import upstream
from coldlens.words import counted


@dataclass(frozen=True)
class Cost:
    """The work of a comparison.

    Attributes:
        examples: N.
        tokens: Tokens of all sequences of the examples.
        backwards: Backward passes over the examples, one a loss, for all methods together.
        prompts: Evaluation prompts.
        prompt_forwards: Forward passes of one prompt each up to the deepest layer; a dual forward
            counts 4.
        gradient_bytes: Memory of one parameter gradient.
    """

    examples: int
    tokens: int
    backwards: int
    prompts: int
    prompt_forwards: int
    gradient_bytes: int

    def __str__(self) -> str:
        """Returns the cost in a sentence."""
        return (
            f"{counted(self.examples, 'example')} ({counted(self.tokens, 'token')}) once forward "
            f"and {self.backwards}x backward, then about {self.prompt_forwards:,} forwards of a "
            f"prompt ({counted(self.prompts, 'prompt')}); {self.gradient_bytes / 2**20:,.1f} MiB "
            "for each parameter gradient"
        )


def estimate(
    model: TransformerBridge,
    examples: ExampleSet,
    encoded: list[Encoded],
    layers: tuple[int, ...],
    methods: Mapping[str, Method],
    prompts: int,
) -> Cost:
    """Counts the work of a comparison.

    Args:
        model: The model.
        examples: The examples.
        encoded: Their tokens.
        layers: The layers.
        methods: The methods by label.
        prompts: How many evaluation prompts there are.

    Returns:
        The cost.
    """
    needs = Needs()
    for method in methods.values():
        needs = needs | method.needs(examples)
    wide = model.cfg.d_model
    extra = sum(m.extra_passes + m.layer_passes(wide) * len(layers) for m in methods.values())
    few = len(pilot([one.prompt for one in encoded]))
    forwards = sum(
        (m.forwards + m.layer_forwards(wide) * len(layers)) * prompts + m.pilot_forwards * few
        for m in methods.values()
    )
    tokens = sum(len(e.prompt) * (1 + (e.negative is not None)) for e in encoded)
    tokens += sum(len(e.positive) + len(e.negative or ()) for e in encoded)
    width = working_dtype(model).itemsize
    numbers = sum(p.tensor.numel() for p in upstream(model, max(layers)).values())
    gradient = numbers * width if needs.parameter_gradients else 0
    return Cost(len(encoded), tokens, len(needs.losses) + extra, prompts, forwards, gradient)
