"""`coldlens steer`: what the model says without steering and with it."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from transformer_lens.model_bridge import TransformerBridge

from coldlens.checks import at_least, finite
from coldlens.cli.inputs import Fitted, say
from coldlens.examples.tokens import Ids, encode_prompts
from coldlens.files import check_replaceable
from coldlens.models.generate import answer, require_room, text_of
from coldlens.results import ResultKind, saved

KIND = ResultKind(
    "coldlens steer",
    "coldlens-answers-1",
    {"answers": ("prompt", "eta", "answer")},
    others=("steering.safetensors",),
)


@dataclass(frozen=True)
class Steer(Fitted):
    """Fit a direction, and print the model's answers without steering and with it.

    Attributes:
        out: Folder for the answers and the fitted direction.
        prompt: Prompts to answer; by default those of the first two examples.
        eta: Step sizes; one answer for each.
        max_new_tokens: Length of the answers.
    """

    out: Path = Path("out/steer")
    prompt: tuple[str, ...] = ()
    eta: tuple[float, ...] = (1.0,)
    max_new_tokens: int = 20

    def run(self) -> int:
        """Returns 0 after printing and writing the answers."""
        check_replaceable(self.out, KIND.folder)
        _ = self.chosen_method
        for eta in self.eta:
            finite("eta", eta)
        at_least(1, "max_new_tokens", self.max_new_tokens)
        model, examples = self.load()
        asked = self.prompt or tuple(example.prompt for example in examples[:2])
        encoded = encode_prompts(model, asked, examples.policy)
        require_room(model, encoded, self.max_new_tokens)
        steering, layer = self.fit(model, examples)
        rows: list[tuple[str, float, str]] = []
        for prompt, ids in zip(asked, encoded, strict=True):
            text = text_of(model, ids)
            say(f"\n{steering.explain(prompt, self.positions)}\n")
            rows.append((text, 0.0, self._answer(model, ids)))
            say(f"  unsteered: {_line(rows[-1][-1])}")
            for eta in self.eta:
                with steering.apply(model, layer=layer, eta=eta, positions=self.positions):
                    rows.append((text, eta, self._answer(model, ids)))
                say(f"  eta {eta:5g}: {_line(rows[-1][-1])}")
        table = pd.DataFrame(rows, columns=["prompt", "eta", "answer"])
        about = {
            **steering.provenance.as_dict(),
            "layer": layer,
            "steered": self.positions,
            "max_new_tokens": self.max_new_tokens,
        }
        with saved(self.out, KIND, {"answers": table}, about) as part:
            steering.save(part / "steering.safetensors")
        say(f"\nanswers.csv and steering.safetensors in {self.out}")
        return 0

    def _answer(self, model: TransformerBridge, ids: Ids) -> str:
        return text_of(model, answer(model, ids, self.max_new_tokens))


def _line(text: str) -> str:
    return text.replace("\n", "⏎")
