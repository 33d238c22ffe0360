"""What the measured costs of kernel blocks say: how they grow, and whether promises are kept."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from analyses.kernel_methods import Case

CENTRE = Case(d=64, layers=4, tokens=16, examples=4)
LONG = Case(d=32, layers=4, tokens=64, examples=8)
REFERENCE = Case(d=128, layers=8, tokens=16, examples=4)
GPT2 = Case(d=768, layers=12, tokens=16, examples=2, architecture="gpt2")


def along(cost: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame:
    """Chooses the measurements in which only one size differs from the centre.

    Args:
        cost: The table `cost`.
        axes: The sizes that were changed.

    Returns:
        Its rows with two more columns: `axis`, and `size` along it, ascending.
    """
    parts = []
    for axis in axes:
        others = {name: value for name, value in asdict(CENTRE).items() if name != axis}
        chosen = cost.merge(pd.DataFrame([others]))
        parts.append(chosen.assign(axis=axis, size=chosen[axis]).sort_values("size"))
    return pd.concat(parts, ignore_index=True)


def growth(lines: pd.DataFrame) -> pd.DataFrame:
    """Fits cost = c · sizeᵅ along every axis, by least squares on logarithms.

    Args:
        lines: What `along` chose.

    Returns:
        A row an axis and method: the sizes, and α of time and of peak memory.
    """
    rows = []
    for axis, method in lines[["axis", "method"]].drop_duplicates().itertuples(index=False):
        part = lines.query("axis == @axis and method == @method")
        time, memory = (
            np.polyfit(np.log(part["size"]), np.log(part[column]), 1)[0]
            for column in ("seconds", "peak_mb")
        )
        rows.append((axis, method, " ".join(map(str, part["size"])), time, memory))
    return pd.DataFrame(
        rows, columns=["axis", "method", "sizes", "seconds_exponent", "peak_mb_exponent"]
    )


def bounds(cost: pd.DataFrame) -> pd.DataFrame:
    """Compares what was measured with what is promised.

    Args:
        cost: The table `cost`.

    Returns:
        A row for each promise whose case was measured: claim, measured, relation, limit, holds.
        Where nothing is promised, limit and holds are missing: a figure beside a promise.
    """
    whole, once = (cost.query(f"method == '{name}'") for name in ("contraction", "pairs once"))
    reference, beside = _of(whole, REFERENCE), _of(once, REFERENCE)
    claims = [
        (
            f"Jacobian contraction, time / structured time, {REFERENCE}",
            reference["ratio_to_structured"],
            ">=",
            8,
        ),
        (
            f"Jacobian contraction, peak / structured peak, {REFERENCE}",
            reference["peak_ratio_to_structured"],
            ">=",
            30,
        ),
        (
            f"Jacobians, each pair once, time / structured time, {REFERENCE}",
            beside["ratio_to_structured"],
            ">=",
            None,
        ),
        (
            f"Jacobians, each pair once, peak / structured peak, {REFERENCE}",
            beside["peak_ratio_to_structured"],
            ">=",
            None,
        ),
        (
            "structured time / time of Jacobians, each pair once, worst case of T > d",
            1 / once.query("tokens > d")["ratio_to_structured"],
            "<=",
            1.2,
        ),
        (
            f"GB held by the process at GPT-2's size, {GPT2}",
            _of(cost, GPT2)["process_mb"] / 1e3,
            "<=",
            4,
        ),
        (
            "relative difference between methods, worst case",
            cost["difference"].dropna(),
            "<=",
            1e-4,
        ),
    ]
    rows = []
    for claim, values, relation, limit in claims:
        if len(values):
            measured = values.min() if relation == ">=" else values.max()
            rows.append((claim, measured, relation, limit, _holds(measured, relation, limit)))
    table = pd.DataFrame(rows, columns=["claim", "measured", "relation", "limit", "holds"])
    return table.astype({"limit": "float64", "holds": "boolean"})


def _holds(measured: float, relation: str, limit: float | None) -> bool | None:
    if limit is None:
        return None
    return bool(measured >= limit if relation == ">=" else measured <= limit)


def _of(cost: pd.DataFrame, case: Case) -> pd.DataFrame:
    return cost.merge(pd.DataFrame([asdict(case)]))
