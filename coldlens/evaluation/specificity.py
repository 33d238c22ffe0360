"""`specificity`: what steering towards each behaviour does to every other one."""

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, SupportsIndex

import pandas as pd
import torch
from transformer_lens.model_bridge import TransformerBridge

from coldlens.errors import ArgumentError
from coldlens.evaluation.columns import PREFIX
from coldlens.evaluation.metrics import Metric
from coldlens.evaluation.planned import planned
from coldlens.examples.example import Example, ExampleSet
from coldlens.examples.positions import Positions
from coldlens.examples.tokens import encode
from coldlens.models.load import model_id
from coldlens.steering.steering import Steering
from coldlens.words import counted


@dataclass(frozen=True, eq=False, repr=False)
class Specificity:
    """What each steering did to each set of questions.

    Attributes:
        table: One row a steering and question: `steered`, `measured`, `question`, and the other
            columns of `Evaluation.table`, without steering as `unsteered_…`.
        about: Where it came from.
    """

    table: pd.DataFrame
    about: dict[str, Any]

    def matrix(self, by: str | None = None) -> pd.DataFrame:
        """Returns the mean change of a measurement, steerings by sets of questions.

        Args:
            by: The measurement; None for `probability`, `margin`, `total_variation` or `nll`,
                whichever was measured first.

        Returns:
            Rows `steered`, columns `measured`; what is specific is large on the diagonal alone.

        Raises:
            ArgumentError: If it was not measured.
        """
        known = [name.removeprefix(PREFIX) for name in self.table if name.startswith(PREFIX)]
        usual = ("probability", "margin", "total_variation", "nll")
        chosen = by or next((name for name in usual if name in known), known[0])
        if chosen not in known:
            raise ArgumentError(
                expected=f"a measurement among {known}", found=repr(by), fix="Pass by=None"
            )
        change = self.table[chosen] - self.table[PREFIX + chosen]
        return self.table.assign(change=change).pivot_table(
            index="steered", columns="measured", values="change", sort=False
        )

    def __repr__(self) -> str:
        """Returns the steerings and sets in a line."""
        about = self.about
        return (
            f"<Specificity of {counted(len(about['steered']), 'steering')} on "
            f"{counted(len(about['measured']), 'set')} of questions, {about['model_id']}>"
        )

    def _repr_html_(self) -> str:
        shown = self.matrix().to_html(float_format="{:+.3f}".format, na_rep="–")
        return f"<p>{html.escape(repr(self).strip('<>'))}</p>{shown}"


@torch.inference_mode(False)
def specificity(
    model: TransformerBridge,
    steerings: Mapping[str, Steering],
    questions: Mapping[str, ExampleSet | Iterable[Example]],
    layer: SupportsIndex | Sequence[SupportsIndex] | Mapping[str, SupportsIndex],
    eta: float | int | Mapping[str, float | int] = 1.0,
    positions: Positions = "prompt",
    metrics: Sequence[str | Metric] | None = None,
    *,
    batch_size: int = 16,
) -> Specificity:
    """Measures every set of questions under every steering.

    Args:
        model: The model.
        steerings: Steerings by name, for instance of the behaviour.
        questions: Sets of questions by name; unrelated ones may be among them.
        layer: The steered layer or layers, or by name of the steering its own.
        eta: The step size, or by name of the steering its own.
        positions: Where, as in `Steering.apply`.
        metrics: As in `evaluate`.
        batch_size: Questions a batch.

    Returns:
        The table, and with `.matrix()` its summary.

    Raises:
        ArgumentError: If there is no steering or no set, one has no layer or eta, or none by name.
    """
    for what, given in (("steerings", steerings), ("questions", questions)):
        if not isinstance(given, Mapping):
            raise ArgumentError(
                expected=f"{what} by name",
                found=type(given).__name__,
                fix="Pass {name: steering} and {name: examples}",
            )
    if not steerings or not questions:
        raise ArgumentError(
            expected="at least one steering and one set of questions",
            found=f"{len(steerings)} and {len(questions)}",
            fix="Pass {name: steering} and {name: examples}",
        )
    for what, given in (("layer", layer), ("eta", eta)):
        lacking = [name for name in steerings if isinstance(given, Mapping) and name not in given]
        if lacking:
            raise ArgumentError(
                expected=f"the {what} of every steering",
                found=f"none of {', '.join(lacking)}",
                fix=f"Pass one {what} for all, or one by name",
            )
    sets = {name: ExampleSet.of(asked) for name, asked in questions.items()}
    encoded = {name: encode(model, asked) for name, asked in sets.items()}
    plans = {
        (steered, measured): planned(
            model,
            asked,
            steering,
            layer[steered] if isinstance(layer, Mapping) else layer,
            eta[steered] if isinstance(eta, Mapping) else eta,
            positions,
            metrics,
            batch_size=batch_size,
            encoded=encoded[measured],
        )
        for steered, steering in steerings.items()
        for measured, asked in sets.items()
    }
    found = [
        plan.run().table.assign(steered=steered, measured=measured)
        for (steered, measured), plan in plans.items()
    ]
    table = pd.concat(found, ignore_index=True)
    names = ["steered", "measured", "question"]
    about = {
        "model_id": model_id(model),
        "steered": {name: steering.provenance.method for name, steering in steerings.items()},
        "measured": {name: asked.hash() for name, asked in sets.items()},
        "layer": str(layer),
        "eta": str(eta),
        "positions": str(positions),
    }
    rest = [name for name in table if name not in names]
    return Specificity(table.reindex(columns=[*names, *rest]), about)
