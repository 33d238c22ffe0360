"""`Evaluation`: a table with one row a question, and what it says."""

import html
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from coldlens.evaluation.bootstrap import interval
from coldlens.evaluation.clusters import clusters_of
from coldlens.evaluation.columns import PREFIX
from coldlens.results import ResultKind, loaded, saved
from coldlens.words import counted

KIND = ResultKind(
    "coldlens.evaluate",
    "coldlens-evaluation-2",
    {"table": ("question",)},
    others=("summary.csv", "steering.safetensors"),
)


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """What was measured on a set of questions.

    Attributes:
        table: One row a question: `question` (its place in the set), `cluster_1`, … (its labels,
            where the examples have `clusters`), a column for each measurement, and with steering
            the same without it under `unsteered_…`.
        about: Where it came from.
    """

    table: pd.DataFrame
    about: dict[str, Any]

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Means with 95 % bootstrap intervals; nan ones are left out.

        The intervals are over questions or, where the examples have `clusters`, over these: what
        another draw of the templates and topics would give, not only of questions made from the
        same ones.

        Columns: mean, low, high; and with steering unsteered, change (steered minus unsteered,
        question by question), change_low, change_high. Indexed by measurement.
        """
        clusters = clusters_of(self.table)
        numeric = self.table.select_dtypes("number").drop(columns="question")
        rows = {}
        for name in numeric.columns:
            if name.startswith(PREFIX):
                continue
            values = numeric[name].to_numpy(dtype=float)
            low, high = interval(values, clusters)
            rows[name] = {"mean": _mean(values), "low": low, "high": high}
            if PREFIX + name in numeric:
                before = numeric[PREFIX + name].to_numpy(dtype=float)
                change_low, change_high = interval(values - before, clusters)
                rows[name] |= {
                    "unsteered": _mean(before),
                    "change": _mean(values - before),
                    "change_low": change_low,
                    "change_high": change_high,
                }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("measurement")

    def __repr__(self) -> str:
        """Returns what was measured on what, in a line."""
        about = self.about
        steered = f"{about['method']} at {about['layers']}, eta {about['eta']}"
        return (
            f"<Evaluation of {counted(len(self.table), 'question')} of {about['examples_name']} on "
            f"{about['model_id']}, {steered if about['method'] else 'unsteered'}>"
        )

    def save(self, folder: str | Path) -> Path:
        """Writes the evaluation as a folder, whole or not at all.

        Args:
            folder: The folder: table.csv, summary.csv, result.json.

        Returns:
            The folder.
        """
        with saved(folder, KIND, {"table": self.table}, self.about) as part:
            self.summary.to_csv(part / "summary.csv")
        return Path(folder)

    @staticmethod
    def load(folder: str | Path) -> "Evaluation":
        """Reads a saved evaluation.

        Args:
            folder: The folder.

        Returns:
            The evaluation.
        """
        tables, about = loaded(folder, KIND)
        return Evaluation(tables["table"], about)

    def _repr_html_(self) -> str:
        shown = self.summary.to_html(float_format="{:.4g}".format, na_rep="–")
        return f"<p>{html.escape(repr(self).strip('<>'))}</p>{shown}"


def _mean(values: Float[np.ndarray, " question"]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
