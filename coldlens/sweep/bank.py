"""The questions of all splits, run without steering once for all methods."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from transformer_lens.model_bridge import TransformerBridge

from coldlens.evaluation.measuring import cut, measured, sides_read
from coldlens.evaluation.metrics import Metric, choose_metrics
from coldlens.evaluation.questions import Questions, Reading
from coldlens.examples.example import ExampleSet
from coldlens.examples.positions import Positions
from coldlens.examples.tokens import Encoded, encode
from coldlens.steering.steering import Steering

KEPT_BYTES = 2**31
"""Unsteered residual streams and logits stay in memory up to this size, else they are run again
for each method."""

Strengths = dict[int, list[tuple[float, float]]]
"""By layer: pairs of relative and raw eta."""


@dataclass(frozen=True)
class Grid:
    """What a method is measured at, and how.

    Attributes:
        layers: The layers.
        etas: The step sizes, as `scale` says.
        scale: `"relative"` (to the residual stream) or `"raw"`.
        positions: Where, as in `Steering.apply`.
        metrics: Names or instances for the behaviours; None for those that fit.
        batch_size: Questions a batch.
    """

    layers: tuple[int, ...]
    etas: tuple[float, ...]
    scale: str
    positions: Positions
    metrics: tuple[str | Metric, ...] | None
    batch_size: int


@dataclass(frozen=True)
class Piece:
    """A batch of one split.

    Attributes:
        split: The split.
        index: Places of the questions in the split.
        encoded: Their tokens.
        metrics: What is measured.
    """

    split: str
    index: list[int]
    encoded: list[Encoded]
    metrics: list[Metric]


CAPABILITY = "capability_"
"""Prefix of the splits of unrelated questions."""

CELL = ["split", "layer", "relative", "eta", "question"]


def metrics_of(
    split: str,
    metrics: Sequence[str | Metric] | None,
    examples: ExampleSet,
    encoded: Sequence[Encoded],
) -> list[Metric]:
    """Says what is measured on a split, after checking that it fits.

    Args:
        split: Its name.
        metrics: Names or instances for the behaviours; None for those that fit.
        examples: Its questions.
        encoded: Their tokens.

    Returns:
        The metrics.
    """
    unrelated = split.startswith(CAPABILITY)
    return choose_metrics(["choice", "kl"] if unrelated else metrics, examples, encoded)


class Rows:
    """Collects measurements, a piece of columns at a time."""

    def __init__(self) -> None:
        """Starts with none."""
        self._pieces: list[dict[str, np.ndarray]] = []

    def add(
        self,
        piece: Piece,
        reading: Reading,
        unsteered: Reading,
        layer: int | None = None,
        relative: float = 0.0,
        eta: float = 0.0,
    ) -> None:
        """Measures a batch.

        Args:
            piece: The questions.
            reading: Their logits.
            unsteered: The logits without steering.
            layer: The steered layer, if there is one.
            relative: η‖Δ‖ over the norm of the residual stream.
            eta: η.
        """
        found = measured(piece.metrics, reading, unsteered)
        size = len(piece.index)
        self._pieces.append(
            {
                "split": np.full(size, piece.split, dtype=object),
                "layer": np.full(size, np.nan if layer is None else layer),
                "relative": np.full(size, relative),
                "eta": np.full(size, eta),
                "question": np.array(piece.index),
                **{name: values.cpu().numpy() for name, values in found.items()},
            }
        )

    def table(self) -> pd.DataFrame:
        """Puts the pieces together.

        Returns:
            A row a question and cell.
        """
        names = list(dict.fromkeys(name for piece in self._pieces for name in piece))
        if not names:
            return pd.DataFrame(columns=CELL)

        def column(name: str) -> np.ndarray:
            unknown = np.float32("nan")
            parts = [p.get(name, np.full(len(p["question"]), unknown)) for p in self._pieces]
            return np.concatenate(parts)

        return pd.DataFrame({name: column(name) for name in names})


class Bank:
    """The questions in batches, with what they give without steering."""

    def __init__(
        self, model: TransformerBridge, sets: Mapping[str, ExampleSet], grid: Grid
    ) -> None:
        """Tokenises the questions.

        Args:
            model: The model.
            sets: The questions by split; `capability_…` are measured by choice and KL.
            grid: Layers, metrics and batch size.
        """
        self.model, self.grid = model, grid
        self.pieces = [piece for split, found in sets.items() for piece in self._cut(split, found)]
        rows = [
            (len(one.sequence(side)), len(one.prompt))
            for piece in self.pieces
            for one in piece.encoded
            for side in sides_read(piece.metrics) or ("positive",)
        ]
        streams = sum(length for length, _ in rows) * model.cfg.d_model * len(grid.layers)
        logits = sum(length - prompt for length, prompt in rows) * model.cfg.d_vocab
        fits = 4 * (streams + logits) <= KEPT_BYTES
        self._kept: dict[int, Questions] | None = {} if fits else None

    def unsteered(self) -> pd.DataFrame:
        """Measures the model itself.

        Returns:
            A row a question.
        """
        rows = Rows()
        for piece, questions in self._runs():
            rows.add(piece, questions.unsteered, questions.unsteered)
        return rows.table()

    def prompted(self, encoded: Mapping[str, Sequence[Encoded]]) -> pd.DataFrame:
        """Measures the same questions with other prompts, without steering.

        Args:
            encoded: By split, the questions with those prompts, in their order.

        Returns:
            The rows; KL compares with the plain prompts.
        """
        rows = Rows()
        for piece, questions in self._runs():
            chosen = [encoded[piece.split][place] for place in piece.index]
            other = Questions(self.model, chosen, sides_read(piece.metrics), self.grid.layers)
            rows.add(piece, other.unsteered, questions.unsteered)
        return rows.table()

    def steered(self, steering: Steering, strengths: Strengths) -> pd.DataFrame:
        """Measures every layer and eta of a steering.

        Args:
            steering: The steering.
            strengths: The etas by layer; a layer without any is left out.

        Returns:
            The rows.
        """
        rows = Rows()
        layers = tuple(layer for layer in self.grid.layers if layer in strengths)
        for piece, questions in self._runs() if layers else ():
            changes = questions.displacements(steering, layers)
            together = max(1, self.grid.batch_size // len(piece.index))
            for layer in layers:
                etas = [eta for _, eta in strengths[layer]]
                readings = questions.steered(
                    changes[layer], layer, etas, self.grid.positions, together
                )
                for reading, (relative, eta) in zip(readings, strengths[layer], strict=True):
                    rows.add(piece, reading, questions.unsteered, layer, relative, eta)
        return rows.table()

    def unmeasured(self, layers: Sequence[int | None], note: str) -> pd.DataFrame:
        """Says why cells have no measurement.

        Args:
            layers: Their layers; None for a method without one.
            note: The reason.

        Returns:
            Rows without values.
        """
        unknown = float("nan")
        steps = [(eta, unknown) for eta in self.grid.etas]
        if self.grid.scale == "raw":
            steps = [(unknown, eta) for eta in self.grid.etas]
        cells = [
            (layer, *step)
            for layer in layers
            for step in (steps if layer is not None else [(unknown, unknown)])
        ]
        rows = [
            (piece.split, *cell, question, note)
            for piece in self.pieces
            for cell in cells
            for question in piece.index
        ]
        return pd.DataFrame(rows, columns=[*CELL, "note"])

    def _cut(self, split: str, examples: ExampleSet) -> Iterator[Piece]:
        encoded = encode(self.model, examples)
        metrics = metrics_of(split, self.grid.metrics, examples, encoded)
        for index in cut(encoded, self.grid.batch_size):
            yield Piece(split, index, [encoded[place] for place in index], metrics)

    def _runs(self) -> Iterator[tuple[Piece, Questions]]:
        for place, piece in enumerate(self.pieces):
            if self._kept is not None and place in self._kept:
                yield piece, self._kept[place]
                continue
            sides = sides_read(piece.metrics)
            questions = Questions(self.model, piece.encoded, sides, self.grid.layers)
            if self._kept is not None:
                self._kept[place] = questions
            yield piece, questions
