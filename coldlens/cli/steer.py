"""`coldlens steer`: what the model says without steering and with it."""

from dataclasses import dataclass
from typing import Literal

from transformer_lens.model_bridge import TransformerBridge

from coldlens.cli.inputs import Inputs, say
from coldlens.directions import METHODS
from coldlens.errors import ArgumentError
from coldlens.examples.tokens import Ids, encode_prompts
from coldlens.models.generate import answer, text_of


@dataclass(frozen=True)
class Steer(Inputs):
    """Fit a direction, and print the model's answers without steering and with it.

    Attributes:
        method: One of the methods by name.
        prompt: Prompts to answer; by default those of the first two examples.
        layer: The steered block; by default the middle one.
        eta: Step sizes; one answer for each.
        positions: Which tokens are steered.
        max_new_tokens: Length of the answers.
    """

    method: str = "ColdFD"
    prompt: tuple[str, ...] = ()
    layer: int | None = None
    eta: tuple[float, ...] = (1.0,)
    positions: Literal["prompt", "last_prompt", "all", "generated", "first_generated"] = "prompt"
    max_new_tokens: int = 20

    def run(self) -> int:
        """Returns 0 after printing the answers.

        Raises:
            ArgumentError: If the method is unknown.
        """
        if self.method not in METHODS:
            raise ArgumentError(
                expected=f"a method among {', '.join(METHODS)}",
                found=repr(self.method),
                fix="Names are written as in Python",
            )
        model, examples = self.load()
        method = METHODS[self.method]().with_seed(self.seed)
        if self.chosen_loss is not None:
            method = method.with_loss(self.chosen_loss)
        layer = len(model.blocks) // 2 if self.layer is None else self.layer
        steering = method.fit(model, examples, layer, progress=True)
        asked = self.prompt or tuple(example.prompt for example in examples[:2])
        for prompt, ids in zip(asked, encode_prompts(model, asked, examples.policy), strict=True):
            say(f"\n{steering.explain(prompt, self.positions)}\n")
            say(f"  unsteered: {self._answer(model, ids)}")
            for eta in self.eta:
                with steering.apply(model, layer=layer, eta=eta, positions=self.positions):
                    say(f"  eta {eta:5g}: {self._answer(model, ids)}")
        return 0

    def _answer(self, model: TransformerBridge, ids: Ids) -> str:
        return text_of(model, answer(model, ids, self.max_new_tokens)).replace("\n", "⏎")
