"""`Equivalences`: what `verify_equivalences` found, as tables and a figure that can be saved."""

import html
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from coldlens.equivalence.rows import Row
from coldlens.errors import ArgumentError
from coldlens.plotting.equivalence import equivalence_figure
from coldlens.results import ResultKind, loaded, reading, saved
from coldlens.words import counted

TYPES = {
    "check": "str",
    "case": "str",
    "layer": "Int64",
    "claim": "str",
    "holds": "boolean",
    "verdict": "str",
    "cosine": "float64",
    "relative_error": "float64",
    "scale": "float64",
    "slope": "float64",
    "tolerance": "float64",
    "detail": "str",
}
CURVE_TYPES = {
    "check": "str",
    "layer": "int64",
    "dtype": "str",
    "scheme": "str",
    "step": "float64",
    "error": "float64",
    "fitted": "bool",
    "slope": "float64",
}
KIND = ResultKind(
    "verify_equivalences",
    "coldlens-equivalences-1",
    {"table": tuple(TYPES), "curves": tuple(CURVE_TYPES)},
    ("equivalences.png",),
)


@dataclass(frozen=True, eq=False, repr=False)
class Equivalences:
    """Ten equivalences, each beside cases in which it must not hold.

    Attributes:
        table: One row a check, layer and case. `case`: `"claim"`, `"counter"` or
            `"not applicable"`; `holds`: whether the equivalence held *in this case*, so False is
            right for a counter-case; `verdict`: the same in words, in capitals where it is not as
            it should be; `cosine`, `relative_error` (‖left − right‖/‖right‖) and `scale`
            (⟨left, right⟩/‖right‖²) of the two sides, or the fitted `slope` of an error;
            `tolerance` of the relative error or the slope; `detail`.
        curves: Errors by step. E4: relative error of a finite difference by layer, dtype and
            scheme; E7: remainder of a real step without the displacement, and without half of it,
            relative to ‖ColdJVP‖. `fitted`: whether the step is in the range of the `slope`.
        about: Where it came from: model and fingerprint, examples and hash, settings, versions.
    """

    table: pd.DataFrame
    curves: pd.DataFrame
    about: dict[str, Any]

    def __repr__(self) -> str:
        """Returns examples, model and the verdict in a line."""
        about = self.about
        broken = sorted(set(self.broken.check), key=_number)
        verdict = "all hold" if self.all_hold else f"not as they should be: {', '.join(broken)}"
        return f"<Equivalences {about['examples_name']} on {about['model_id']}: {verdict}>"

    @property
    def broken(self) -> pd.DataFrame:
        """The rows that are not as they should be."""
        return self.table.query(
            "(case == 'claim' and holds == False) or (case == 'counter' and holds == True)"
        )

    @property
    def all_hold(self) -> bool:
        """Whether every claim holds, has a counter-case, and all counter-cases fail.

        Checks that do not apply count neither way.
        """
        claims, counters = (
            set(self.table.claim[self.table.case == case]) for case in ("claim", "counter")
        )
        return bool(claims) and self.broken.empty and claims <= counters

    def summary(self) -> pd.DataFrame:
        """Returns a row a claim: how many layers hold, what the counter-case is, the verdict.

        `worst_error` and `nearest_counter` are relative errors, `tolerance` the largest one at
        which the claim holds, or for a slope how far it may be from the claimed one.
        """
        rows = []
        for claim in self.table.claim.unique():
            part = self.table.query("claim == @claim")
            claims, counters = part.query("case == 'claim'"), part.query("case == 'counter'")
            refuted = len(counters) > 0 and not counters.holds.any()
            as_it_should = claims.holds.all() and refuted
            known = "holds" if as_it_should else "NOT AS IT SHOULD BE"
            rows.append(
                {
                    "check": part.check.iloc[0],
                    "claim": claim,
                    "held": f"{claims.holds.sum()} of {len(claims)}",
                    "worst_error": claims.relative_error.max(),
                    "slopes": _range(claims.slope),
                    "tolerance": claims.tolerance.max(),
                    "counter_case": "; ".join(dict.fromkeys(counters.detail)),
                    "counter_held": f"{counters.holds.sum()} of {len(counters)}",
                    "nearest_counter": counters.relative_error.min(),
                    "verdict": "not applicable" if claims.empty else known,
                }
            )
        return pd.DataFrame(rows)

    def plot(self, layer: int | None = None) -> Figure:
        """Draws the error curves of one layer, and every check's relative error.

        Args:
            layer: The layer of the curves; by default the middle one.

        Returns:
            The figure, not shown.

        Raises:
            ArgumentError: If the layer was not checked.
        """
        layers = sorted(set(self.curves.layer))
        shown = layers[len(layers) // 2] if layer is None else layer
        if shown not in layers:
            raise ArgumentError(
                expected=f"a layer among {layers}",
                found=f"layer {layer}",
                fix="Verify again with layers=None for all layers",
            )
        title = f"{self.about['examples_name']} on {self.about['model_id']}"
        return equivalence_figure(self.table, self.curves, shown, title)

    def save(self, folder: str | Path) -> Path:
        """Writes the report as a folder, whole or not at all.

        Args:
            folder: The folder: table.csv, curves.csv, result.json.

        Returns:
            The folder.
        """
        tables = {"table": self.table, "curves": self.curves}
        with saved(folder, KIND, tables, self.about):
            return Path(folder)

    @staticmethod
    def load(folder: str | Path) -> "Equivalences":
        """Reads a saved report.

        Args:
            folder: The folder.

        Returns:
            The report.
        """
        tables, about = loaded(folder, KIND)
        with reading(folder, KIND):
            table = tables["table"].astype(TYPES)
            return Equivalences(table, tables["curves"].astype(CURVE_TYPES), about)

    def _repr_html_(self) -> str:
        about = self.about
        head = (
            f"Equivalences on <b>{html.escape(about['model_id'])}</b> with "
            f"{counted(about['examples_count'], 'example')} of "
            f"<b>{html.escape(about['examples_name'])}</b>, "
            f"loss {html.escape(str(about['loss']))}, in float64: "
            f"<b>{'all hold' if self.all_hold else 'not all hold'}</b>"
        )
        with pd.option_context("display.max_colwidth", None):
            shown = self.summary().to_html(float_format="{:.1e}".format, na_rep="–", index=False)
        return f"<p>{head}</p>{shown}"


def report_of(
    rows: Sequence[Row], curves: Sequence[pd.DataFrame], about: dict[str, Any]
) -> Equivalences:
    """Builds the report, checks in the order of their numbers.

    Args:
        rows: The rows.
        curves: The curves.
        about: Where they came from.

    Returns:
        The report.
    """
    ordered = sorted(rows, key=lambda row: _number(row.check))
    table = pd.DataFrame([{**asdict(row), "verdict": row.verdict} for row in ordered])
    return Equivalences(
        pd.DataFrame(table, columns=list(TYPES)).astype(TYPES),
        pd.concat(curves, ignore_index=True).astype(CURVE_TYPES),
        {**about, "date": datetime.now(UTC).isoformat(timespec="seconds")},
    )


def _number(check: str) -> int:
    return int(check.removeprefix("E"))


def _range(slopes: pd.Series) -> str:
    known = slopes.dropna()
    return "" if known.empty else f"{known.min():.3f} to {known.max():.3f}"
