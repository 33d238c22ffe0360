"""What each section of the page holds: the tables of a result, and what the page draws of them.

The page computes nothing: means over queries and the like are columns of the tables made here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from coldlens.agreement.report import KernelAgreement
from coldlens.compare.report import DirectionReport
from coldlens.equivalence.report import Equivalences
from coldlens.evaluation.evaluation import Evaluation
from coldlens.page.tables import table
from coldlens.plotting.kernels import NEAR
from coldlens.plotting.style import RUNG_LOOKS, looks

Section = dict[str, Any]

_DASHES = {"-": "", "--": "7 4", ":": "2 3", "-.": "8 3 2 3"}
_LONG_DASH = "10 3 2 3 2 3"


def directions(report: DirectionReport) -> Section:
    """Returns the section of a comparison.

    Args:
        report: The comparison.

    Returns:
        Its tables, the cosine of every pair of methods by layer, and how methods are drawn.
    """
    pairs = [
        (layer, method, other, value)
        for layer in report.layers
        for method, row in report.cosines(layer).iterrows()
        for other, value in row.items()
    ]
    cosines = pd.DataFrame(pairs, columns=["layer", "method", "other", "cosine"])
    return {
        "layers": report.layers,
        "looks": _looks(looks(report.methods)),
        "tables": {
            "directions": table(report.table),
            "tokens": table(report.tokens),
            "cosines": table(cosines),
        },
    }


def kernel(agreement: KernelAgreement, texts: Mapping[int, str]) -> Section:
    """Returns the section of a kernel agreement.

    Args:
        agreement: The agreement.
        texts: What token ids read; ids that are not among them are shown as numbers.

    Returns:
        Its tables but the spectra, their means over queries and pairs, the tokens of the
        examples, and the share of the displacement that each carries.
    """
    means = (
        agreement.ladder.groupby(["layer", "rung"], sort=False)
        .cosine.agg(["mean", "min", "max"])
        .reset_index()
    )
    pairs = (
        agreement.table.groupby(["layer", "same_prompt"])
        .alignment.agg(
            low=lambda values: values.quantile(0.1),
            median="median",
            high=lambda values: values.quantile(0.9),
        )
        .reset_index()
    )
    return {
        "layers": agreement.layers,
        "looks": _looks(RUNG_LOOKS),
        "summary": agreement.summary(),
        "near": NEAR,
        "queries": agreement.about["queries"],
        "examples": [
            [_texts(ids, texts) for ids in example] for example in agreement.token_ids["examples"]
        ],
        "tables": {
            "ladder": table(agreement.ladder),
            "ladder_means": table(means),
            "blocks": table(agreement.table),
            "block_quantiles": table(pairs),
            "by_layer": table(agreement.by_layer),
            "shares": table(_shares(agreement, ["example", "side", "position"])),
            "shares_by_position": table(_near(agreement)),
        },
    }


def equivalences(checks: Equivalences) -> Section:
    """Returns the section of the checks.

    Args:
        checks: The checks.

    Returns:
        Every row, a row a claim, and the verdict.
    """
    return {
        "layers": sorted({int(layer) for layer in checks.table.layer.dropna()}),
        "all_hold": checks.all_hold,
        "tables": {"checks": table(checks.summary()), "every_check": table(checks.table)},
    }


def steering(evaluations: Mapping[str, Sequence[Evaluation]]) -> Section:
    """Returns the section of what steering does to questions.

    Args:
        evaluations: Measurements of steered models, by what they have in common, such as the
            length of the displacement.

    Returns:
        A table of all their summaries.
    """
    frames = []
    for group, found in evaluations.items():
        for one in found:
            (layer,) = one.about["layers"]
            head = {
                "group": group,
                "method": one.about["method"],
                "layer": layer,
                "eta": one.about["eta"],
                "questions": len(one.table),
            }
            rows = one.summary.reset_index()
            frames.append(pd.DataFrame(head, index=rows.index).join(rows))
    rows = pd.concat(frames, ignore_index=True)
    return {
        "layers": sorted(set(rows.layer.tolist())),
        "looks": _looks(looks(list(dict.fromkeys(rows.method)))),
        "tables": {"steering": table(rows)},
    }


def _shares(agreement: KernelAgreement, by: list[str]) -> pd.DataFrame:
    """Returns shares of the displacement, averaged over queries: a layer's add up to one."""
    total = agreement.positions.groupby(["layer", *by], sort=False).share.sum()
    return (total / agreement.about["queries"]).reset_index()


def _near(agreement: KernelAgreement) -> pd.DataFrame:
    """Returns shares by position; those far from the end of the prompt stand together."""
    shares = _shares(agreement, ["position"])
    shares["position"] = shares.position.clip(-NEAR - 1, NEAR + 1)
    return shares.groupby(["layer", "position"]).share.sum().reset_index()


def _texts(ids: Sequence[int] | None, texts: Mapping[int, str]) -> list[str] | None:
    return None if ids is None else [texts.get(token, f"⟨{token}⟩") for token in ids]


def _looks(chosen: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns lines of matplotlib as lines of SVG; black becomes the colour of the text."""
    return {
        name: {
            "color": "currentColor" if look["color"] == "#000000" else look["color"],
            "dash": _DASHES.get(look.get("linestyle", "-"), _LONG_DASH),
            "width": look.get("linewidth", 2),
            "opacity": look.get("alpha", 1),
        }
        for name, look in chosen.items()
    }
