"""`DirectionReport`: what `compare_directions` found, to read, plot, save and load."""

import html
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure
from safetensors.torch import load_file, save_file
from torch import Tensor

from coldlens.compare.readout import DEPTH, TOKEN_COLUMNS
from coldlens.errors import ArgumentError
from coldlens.files import whole_file
from coldlens.models.guards import resolve_layer
from coldlens.plotting.directions import direction_figure
from coldlens.results import (
    TOKEN_IDS,
    ResultKind,
    loaded,
    read_token_ids,
    reading,
    saved,
    write_token_ids,
)
from coldlens.vectors import cosine
from coldlens.words import counted

TABLE_COLUMNS = (
    "layer",
    "method",
    "norm",
    "relative_norm",
    "cosine_to_ColdJVP",
    "prompt_cosine_to_ColdJVP",
    "cosine_to_DiffMean",
    "coherence",
)
_VECTORS = "directions.safetensors"
KIND = ResultKind(
    "compare_directions",
    "coldlens-directions-2",
    {"table": TABLE_COLUMNS, "tokens": TOKEN_COLUMNS},
    (_VECTORS, TOKEN_IDS, "directions.png"),
)


@dataclass(frozen=True, eq=False, repr=False)
class DirectionReport:
    """The directions of one behaviour, compared.

    Attributes:
        table: One row a layer and method. `norm`: length of the (mean) displacement;
            `relative_norm`: the same over the mean norm of the residual stream at the examples'
            last prompt token; `cosine_to_ColdJVP`: cosine to the exact one-step displacement,
            both averaged over prompts; `prompt_cosine_to_ColdJVP`: the same prompt by prompt,
            then averaged; `cosine_to_DiffMean`; `coherence`: mean pairwise cosine of the vectors
            that were averaged (over examples for static methods, over prompts for others).
        tokens: The tokens that each direction promotes and suppresses.
        directions: Vectors [d_model] by method and layer, towards the behaviour.
        token_ids: The ids that entered the model: `examples` as [prompt, positive, negative], and
            the evaluation `prompts`.
        about: Where it came from: model and fingerprint, examples and hash, settings, versions.
    """

    table: pd.DataFrame
    tokens: pd.DataFrame
    directions: dict[str, dict[int, Tensor]]
    token_ids: dict[str, list[Any]]
    about: dict[str, Any]

    def __repr__(self) -> str:
        """Returns examples, model, methods and layers in a line."""
        about = self.about
        return (
            f"<DirectionReport {about['examples_name']} on {about['model_id']}: "
            f"{counted(len(self.methods), 'method')}, layers {self.layers}>"
        )

    @property
    def methods(self) -> list[str]:
        """The methods, in the order of the table."""
        return list(self.directions)

    @property
    def layers(self) -> list[int]:
        """The layers, ascending."""
        return sorted(next(iter(self.directions.values())))

    def cosines(self, layer: int) -> pd.DataFrame:
        """Returns the cosine of every pair of methods at a layer.

        Args:
            layer: One of `layers`.

        Returns:
            A square table; nan where a direction is zero.
        """
        chosen = self._layer(layer)
        vectors = torch.stack([self.directions[method][chosen] for method in self.methods])
        square = cosine(vectors.unsqueeze(0), vectors.unsqueeze(1))
        return pd.DataFrame(square.numpy(), index=self.methods, columns=self.methods)

    def top_tokens(self, layer: int, method: str, k: int = 10) -> pd.DataFrame:
        """Returns the tokens that a direction promotes and suppresses most.

        Args:
            layer: One of `layers`.
            method: One of `methods`.
            k: How many at each end, at most 20.

        Returns:
            Columns promoted, promoted_score, suppressed, suppressed_score.

        Raises:
            ArgumentError: If the method is unknown or k is out of range.
        """
        wanted = self._layer(layer)  # noqa: F841 - the query below reads it
        if method not in self.methods:
            raise ArgumentError(
                expected=f"a method among {self.methods}",
                found=repr(method),
                fix="Use the label that the table shows",
            )
        if not 1 <= k <= DEPTH:
            raise ArgumentError(
                expected=f"k between 1 and {DEPTH}", found=f"k = {k}", fix="Ask for fewer tokens"
            )
        chosen = self.tokens.query("layer == @wanted and method == @method and rank <= @k")
        columns = {}
        for name, side in (("promoted", "sign > 0"), ("suppressed", "sign < 0")):
            rows = chosen.query(side)
            columns[name] = rows.token.tolist()
            columns[f"{name}_score"] = rows.score.tolist()
        return pd.DataFrame(columns)

    def plot(self, layer: int | None = None) -> Figure:
        """Draws cosine to the exact displacement by layer, and method against method.

        Args:
            layer: The layer of the second panel; by default the middle one.

        Returns:
            The figure, not shown.
        """
        shown = self.layers[len(self.layers) // 2] if layer is None else self._layer(layer)
        title = f"{self.about['examples_name']} on {self.about['model_id']}"
        return direction_figure(self.table, self.cosines(shown), shown, title)

    def summary(self) -> pd.DataFrame:
        """Returns the cosine to the exact displacement, methods by layers."""
        return self.table.pivot_table(
            index="method", columns="layer", values="cosine_to_ColdJVP", sort=False, dropna=False
        )

    def save(self, folder: str | Path) -> Path:
        """Writes the report as a folder, whole or not at all.

        Args:
            folder: The folder: table.csv, tokens.csv, directions.safetensors, token_ids.json,
                result.json.

        Returns:
            The folder.
        """
        flat = {
            f"{place}.{layer}": vector.contiguous()
            for place, vectors in enumerate(self.directions.values())
            for layer, vector in vectors.items()
        }
        tables = {"table": self.table, "tokens": self.tokens}
        head = {**self.about, "labels": self.methods, "layers": self.layers}
        with saved(folder, KIND, tables, head) as part:
            with whole_file(part / _VECTORS) as file:
                save_file(flat, file)
            write_token_ids(part, self.token_ids)
        return Path(folder)

    @staticmethod
    def load(folder: str | Path) -> "DirectionReport":
        """Reads a saved report.

        Args:
            folder: The folder.

        Returns:
            The report.
        """
        tables, about = loaded(folder, KIND)
        with reading(folder, KIND):
            labels, layers = about.pop("labels"), about.pop("layers")
            flat = load_file(Path(folder) / _VECTORS)
            directions = {
                label: {layer: flat[f"{place}.{layer}"] for layer in layers}
                for place, label in enumerate(labels)
            }
        return DirectionReport(
            tables["table"], tables["tokens"], directions, read_token_ids(folder, KIND), about
        )

    def _layer(self, layer: int) -> int:
        found = resolve_layer(layer, self.about["blocks"])
        if found not in self.layers:
            raise ArgumentError(
                expected=f"a layer among {self.layers}",
                found=f"layer {layer}",
                fix="Compare again with layers=None for all layers",
            )
        return found

    def _repr_html_(self) -> str:
        about = self.about
        head = (
            f"{counted(len(self.methods), 'direction')} for "
            f"<b>{html.escape(about['examples_name'])}</b> "
            f"({counted(about['examples_count'], 'example')}) on "
            f"<b>{html.escape(about['model_id'])}</b>, "
            f"loss {html.escape(str(about['loss']))}. Cosine to the exact one-step displacement:"
        )
        shown = self.summary().to_html(float_format="{:+.3f}".format, na_rep="–")
        return f"<p>{head}</p>{shown}"
