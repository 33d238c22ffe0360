"""What the measurements say: ratios beside what is promised, agreement, and growth with size."""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from math import nan
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from analyses.benchmark.promises import Bound
from analyses.benchmark.subject import Size, Subject
from analyses.cost import power_law

MEASURES = {"seconds": "time", "peak_mb": "peak"}
AGREEMENT = ["what", "against", "layer", "measure", "value", "relation", "limit"]
ALIKE = 0.9999
"""The cosine from which two directions are the same in float32."""
EXACT_PCA = 500
"""Up to this width scikit-learn's PCA, and so repeng, is exact; beyond it is a random estimate."""
SAME_CHOICE = 0.05
"""The most by which probabilities may differ between two float32 differences, as a share of what
steering does to them."""


def ratios(times: pd.DataFrame, promises: Iterable[Bound]) -> pd.DataFrame:
    """Divides measurements of the same repetition, and compares with what is promised.

    Args:
        times: The rows of one model of the table `times`.
        promises: What is compared; what was not measured is left out.

    Returns:
        A row a ratio and measure: claim, median, least and greatest over repetitions, limit and
        whether it holds; where nothing is promised these two are missing.
    """
    rows = []
    for bound in promises:
        part = times[times.part == bound.part]
        for column, word in MEASURES.items():
            found = part.pivot_table(column, "repetition", "what")
            if not {bound.what, bound.against} <= set(found):
                continue
            values = found[bound.what] / (bound.times * found[bound.against])
            if column == "peak_mb" and bound.part in ("answers", "grid"):
                continue
            often = f"{bound.times} × " if bound.times > 1 else ""
            rows.append(
                {
                    "parameters": part.parameters.iloc[0],
                    "part": bound.part,
                    "what": bound.what,
                    "against": f"{often}{bound.against}",
                    "measure": word,
                    "claim": f"{bound.what} / {often}{bound.against}, {word}, {_short(part)}",
                    "measured": values.median(),
                    "low": values.min(),
                    "high": values.max(),
                    "relation": "<=",
                    "limit": getattr(bound, word),
                }
            )
    return pd.DataFrame(rows)


def agreement(subject: Subject, found: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Compares the results of computations that should give the same.

    Args:
        subject: What they were measured on.
        found: Results by part and name.

    Returns:
        A row a comparison and layer: a cosine, or the greatest difference of probabilities as a
        share of the greatest that steering makes.
    """
    vectors, depth, rows = found["vectors"], subject.size.layers, []
    for name, peer, top in (("DiffMean", "steering-vectors", depth), ("RepE", "repeng", depth - 1)):
        # repeng reads the last layer after the final norm, and has signs of its own.
        for layer in range(top) if peer in vectors else ():
            value = _cosine(vectors[name].vector(layer), vectors[peer][layer])
            value = abs(value) if peer == "repeng" else value
            exact = name == "DiffMean" or subject.size.d <= EXACT_PCA
            rows.append((name, peer, layer, "cosine", value, ">=", ALIKE if exact else nan))
    if "fits" in found:
        for name in ("ColdFD", "ColdJVP"):
            direction, whole = found["fits"][name].direction, found["fits"]["one by one"]
            names = [key for key, part in direction.items() if isinstance(part, Tensor)]
            ours, theirs = (
                torch.cat([gradient[key].flatten() for key in names])
                for gradient in (direction, whole)
            )
            value = _cosine(ours, theirs)
            rows.append((name, "one by one", None, "cosine", value, ">=", ALIKE))
    if "grid" in found:
        cell = found["grid"]["one cell"].questions
        cell = cell.sort_values("split", ascending=False, kind="stable")
        ours, plain = (
            torch.tensor(part.probability.to_numpy()[subject.order])
            for part in (cell[cell.method != "base"], cell[cell.method == "base"])
        )
        (theirs,) = found["grid"]["one cell, one by one"]
        value = ((ours - theirs).abs().max() / (ours - plain).abs().max()).item()
        rows.append(("one cell", "one cell, one by one", None, "share", value, "<=", SAME_CHOICE))
    table = pd.DataFrame(rows, columns=AGREEMENT).astype({"layer": "Int64"})
    return table.assign(parameters=subject.parameters)


def bounds(compared: pd.DataFrame, alike: pd.DataFrame) -> pd.DataFrame:
    """Puts the ratios and the worst agreement of every comparison together.

    Args:
        compared: What `ratios` returned.
        alike: The table `agreement`.

    Returns:
        A row a claim.
    """
    keys = ["parameters", "what", "against", "measure", "relation", "limit"]
    rows = []
    for key, part in alike.groupby(keys, sort=False, dropna=False):
        parameters, what, against, measure, relation, limit = key
        ends = part.value.min(), part.value.max()
        claim = f"{what} and {against}, worst {measure}, {_short(part)}"
        worst = ends[0] if relation == ">=" else ends[1]
        row = (parameters, "agreement", what, against, measure, claim, worst, *ends)
        rows.append((*row, relation, limit))
    found = pd.concat([compared, pd.DataFrame(rows, columns=list(compared))], ignore_index=True)
    below = found.relation == "<="
    kept = (found.measured <= found.limit).where(below, found.measured >= found.limit)
    return found.assign(holds=kept.astype("boolean").mask(found.limit.isna()))


def along(times: pd.DataFrame, centre: Size, axes: Mapping[str, Iterable[int]]) -> pd.DataFrame:
    """Chooses the measurements in which only one size differs from the centre.

    Args:
        times: The table `times`.
        centre: The sizes in the middle.
        axes: The sizes that were changed.

    Returns:
        Medians: a row an axis, size along it, part and computation.
    """
    parts = []
    for axis in axes:
        others = {name: size for name, size in asdict(centre).items() if name != axis}
        chosen = times.merge(pd.DataFrame([others]))
        middle = chosen.groupby(["part", "what", axis], sort=False)[list(MEASURES)].median()
        parts.append(middle.reset_index().rename(columns={axis: "size"}).assign(axis=axis))
    return pd.concat(parts, ignore_index=True)


def growth(lines: pd.DataFrame) -> pd.DataFrame:
    """Fits cost = c · sizeᵅ along every axis, by least squares on logarithms.

    Args:
        lines: What `along` returned.

    Returns:
        A row an axis, computation and measure: α and its standard error, nan with two sizes.
    """
    rows = []
    for (axis, part, what), found in lines.groupby(["axis", "part", "what"], sort=False):
        for column, word in MEASURES.items():
            exponent, error = power_law(found.set_index("size")[column])
            rows.append((axis, part, what, word, exponent, error))
    return pd.DataFrame(rows, columns=["axis", "part", "what", "measure", "exponent", "error"])


def _cosine(one: Tensor, other: Tensor) -> float:
    return torch.cosine_similarity(one.double(), other.double(), dim=0).item()


def _short(part: pd.DataFrame) -> str:
    return f"{part.parameters.iloc[0] / 1e6:.3g} M"
