"""`KernelAgreement`: what `kernel_agreement` found, to read, plot, save and load."""

import html
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from coldlens.agreement.words import in_words
from coldlens.plotting.kernels import kernel_figure
from coldlens.results import (
    TOKEN_IDS,
    ResultKind,
    loaded,
    read_token_ids,
    saved,
    write_token_ids,
)
from coldlens.words import counted

KIND = ResultKind(
    "kernel_agreement",
    "coldlens-kernels-1",
    {
        "table": ("layer", "query", "example", "alignment", "scale", "residual"),
        "ladder": ("layer", "query", "rung", "cosine", "relative_error", "norm_ratio"),
        "by_layer": ("layer", "coherence", "first_singular_share"),
        "spectra": ("layer", "query", "rank", "eigenvalue_share"),
        "positions": ("layer", "query", "example", "side", "position", "share"),
    },
    (TOKEN_IDS, "kernels.png"),
)


@dataclass(frozen=True, eq=False, repr=False)
class KernelAgreement:
    """How far the identity kernel of COLD-Kernel is from the empirical NTK, layer by layer.

    Blocks K are d×d and pair a query's last token with an example's last prompt token.

    Attributes:
        table: One row a layer, query and example. `same_prompt`: whether the two prompts are one;
            `alignment`: tr K/(√d ‖K‖_F), the cosine between K and the identity; `scale`: tr K/d;
            `residual`: ‖K − (tr K/d) I‖_F/‖K‖_F. Estimates if the kernel was sketched, with
            `alignment_low` and `alignment_high`; see `coldlens.kernels.Sketch`.
        ladder: One row a layer, query and rung, each against the exact displacement at the
            query's last token (`about["exact"]`: ColdJVP, or the kernel sum for a loss of the
            residual stream). `full`: kernel sum over all tokens, off only by the part of a tied
            embedding that acts through the unembedding; `last_position`: last prompt token only;
            `scalar`: K replaced by its scale; `constant`: one scale for all pairs, COLD-Kernel.
        by_layer: One row a layer. `effective_rank` (Roy and Vetterli 2007) and
            `top_eigenvalue_share` of the kernel of a query with itself, means over queries;
            `scale_variation`: standard deviation over mean of the scale over all pairs;
            `coherence`: mean pairwise cosine of the examples' gradients at their last prompt
            token; `first_singular_share`: σ₁/Σσ of these gradients.
        spectra: λ_k/Σλ of the kernel of each query with itself, by layer, query and rank k from 1.
            A sketch has no spectra: there this table is empty and the first two figures of
            `by_layer` are nan.
        positions: What each token of the examples contributes to the kernel sum over all tokens
            at each query: ⟨contribution, Δ⟩/‖Δ‖², which sums to one over a layer and query.
            `position` counts from the last prompt token, 0; `side` is `"prompt"`, where the
            sequences of an example are added up, or the completion's.
        token_ids: The ids that entered the model: `examples` as [prompt, positive, negative], and
            `queries`.
        about: Where it came from: model and fingerprint, examples and hash, settings, versions.
    """

    table: pd.DataFrame
    ladder: pd.DataFrame
    by_layer: pd.DataFrame
    spectra: pd.DataFrame
    positions: pd.DataFrame
    token_ids: dict[str, list[Any]]
    about: dict[str, Any]

    def __repr__(self) -> str:
        """Returns examples, model, queries and layers in a line."""
        about = self.about
        return (
            f"<KernelAgreement {about['examples_name']} on {about['model_id']}: "
            f"{counted(about['examples_count'], 'example')}, queries: {about['queries']}, "
            f"layers {self.layers}>"
        )

    @property
    def layers(self) -> list[int]:
        """The layers, ascending."""
        return list(self.about["layers"])

    def summary(self) -> str:
        """Returns in words, with numbers, where each approximation costs most."""
        return in_words(self.ladder, self.table, self.by_layer, self.positions, self.about)

    def plot(self) -> Figure:
        """Draws alignment, ladder, spectra and positions.

        Returns:
            The figure, not shown.
        """
        title = f"{self.about['examples_name']} on {self.about['model_id']}"
        return kernel_figure(self.table, self.ladder, self.spectra, self.positions, title)

    def save(self, folder: str | Path) -> Path:
        """Writes the report as a folder, whole or not at all.

        Args:
            folder: The folder: a CSV file a table, token_ids.json, result.json.

        Returns:
            The folder.
        """
        tables = {name: getattr(self, name) for name in KIND.tables}
        with saved(folder, KIND, tables, self.about) as part:
            write_token_ids(part, self.token_ids)
        return Path(folder)

    @staticmethod
    def load(folder: str | Path) -> "KernelAgreement":
        """Reads a saved report.

        Args:
            folder: The folder.

        Returns:
            The report.
        """
        tables, about = loaded(folder, KIND)
        return KernelAgreement(**tables, token_ids=read_token_ids(folder, KIND), about=about)

    def _repr_html_(self) -> str:
        about = self.about
        head = (
            f"The empirical NTK of <b>{html.escape(about['examples_name'])}</b> "
            f"({counted(about['examples_count'], 'example')}) on "
            f"<b>{html.escape(about['model_id'])}</b>, queries: {about['queries']}, "
            f"loss {html.escape(str(about['loss']))}. Mean cosine to "
            "the exact one-step displacement, rung by rung:"
        )
        shown = self.ladder.pivot_table(
            index="rung", columns="layer", values="cosine", sort=False, dropna=False
        )
        return f"<p>{head}</p>{shown.to_html(float_format='{:+.3f}'.format, na_rep='–')}"
