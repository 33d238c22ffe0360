"""Distances to groups before and after steering, with intervals."""

# What pandas gives for a column or a group is a union that only a test can narrow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportGeneralTypeIssues=false, reportIndexIssue=false

import pandas as pd

from coldlens.evaluation.bootstrap import interval
from coldlens.evaluation.clusters import cluster_columns, clusters_of

ALL, EACH = "for all groups", "for each group"
"""Whose validation questions a layer and step size were chosen on."""
STEERED, UNSTEERED = "total_variation", "unsteered_total_variation"


def with_changes(questions: pd.DataFrame) -> pd.DataFrame:
    """Adds whether a test question is of the group steered to, and the change.

    Args:
        questions: A row a method, group steered `towards`, group `measured` and test question,
            whose topic is its cluster.

    Returns:
        The same with columns `own` and `change`.
    """
    return questions.assign(
        own=questions.towards == questions.measured,
        change=questions[STEERED] - questions[UNSTEERED],
    )


def by_group(questions: pd.DataFrame) -> pd.DataFrame:
    """Summarises each method and group.

    Args:
        questions: What `with_changes` returned.

    Returns:
        A row a method and group: the mean total variation distance to the group `unsteered` and
        `steered`, with 95 % bootstrap intervals over the topics of its test questions, and of the
        `change`; the same distances and change to the `others`.
    """
    return pd.DataFrame(
        [
            {
                "method": method,
                "group": group,
                **_summary(part[part.own], ""),
                **_summary(part[~part.own], "others_"),
            }
            for (method, group), part in questions.groupby(["method", "towards"], sort=False)
        ]
    )


def by_pair(questions: pd.DataFrame) -> pd.DataFrame:
    """Summarises each method, group steered to and group measured.

    Args:
        questions: What `with_changes` returned.

    Returns:
        A row each, with distances and change as in `by_group`.
    """
    keys = ["method", "towards", "measured"]
    return pd.DataFrame(
        [
            {**dict(zip(keys, key, strict=True)), **_summary(part, "")}
            for key, part in questions.groupby(keys, sort=False)
        ]
    )


def overall(questions: pd.DataFrame) -> pd.DataFrame:
    """Averages over groups.

    Questions on one topic have one distribution and are alike, and groups are asked about the same
    topics, so groups and topics are resampled, apart from each other, and not questions. That is
    too wide where nothing is common to a group or a topic; then the pairs of both may be resampled.

    Args:
        questions: What `with_changes` returned.

    Returns:
        A row a method and way that it was `chosen`: the number of pairs of group and topic as
        `clusters`, an interval that resamples these of the change towards the group
        (`change_pairs_low`, `change_pairs_high`), and mean distances and changes, to the group
        steered to and to the `others`.
    """
    topic = cluster_columns(questions)
    pairs = questions.groupby(["method", "chosen", "own", "towards", *topic], sort=False)
    means = pairs[[STEERED, UNSTEERED, "change"]].mean().reset_index()
    means[f"cluster_{len(topic) + 1}"] = means.towards
    return pd.DataFrame(
        [
            {
                "method": method,
                "chosen": chosen,
                "clusters": int(part.own.sum()),
                **_pairs(part[part.own]),
                **_summary(part[part.own], ""),
                **_summary(part[~part.own], "others_"),
            }
            for (method, chosen), part in means.groupby(["method", "chosen"], sort=False)
        ]
    )


def _pairs(rows: pd.DataFrame) -> dict[str, float]:
    low, high = interval(rows.change.to_numpy(dtype=float))
    return {"change_pairs_low": low, "change_pairs_high": high}


def _summary(rows: pd.DataFrame, prefix: str) -> dict[str, float]:
    found: dict[str, float] = {}
    columns = {"unsteered": UNSTEERED, "steered": STEERED, "change": "change"}
    for name, column in columns.items():
        values = rows[column].to_numpy(dtype=float)
        low, high = interval(values, clusters_of(rows))
        ends = (values.mean() if len(values) else float("nan"), low, high)
        labels = (name, f"{name}_low", f"{name}_high")
        found |= {prefix + label: end for label, end in zip(labels, ends, strict=True)}
    return found
