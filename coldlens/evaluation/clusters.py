"""The clusters of questions as the columns `cluster_1`, `cluster_2`, … of a table."""

import pandas as pd

from coldlens.evaluation.bootstrap import Clusters


def with_clusters(table: pd.DataFrame, clusters: Clusters) -> pd.DataFrame:
    """Adds a column for each factor after the column `question`.

    Args:
        table: Has a column `question`, a place in `clusters`.
        clusters: The labels of each question; see `Example.clusters`.

    Returns:
        A table with as many columns more as there are factors.
    """
    found = table.copy()
    after = list(table).index("question") + 1
    for factor in range(len(clusters[0])):
        names = [clusters[place][factor] for place in table["question"]]
        found.insert(after + factor, f"cluster_{factor + 1}", names)
    return found


def cluster_columns(table: pd.DataFrame) -> list[str]:
    """Names the columns of clusters.

    Args:
        table: A row a question, or several.

    Returns:
        Their names; none where questions have no clusters.
    """
    return list(table.filter(regex=r"^cluster_\d+$"))


def clusters_of(table: pd.DataFrame) -> Clusters:
    """Reads the clusters back.

    Args:
        table: Rows of questions with as many labels each. Columns are nan that only other questions
            of a larger table had.

    Returns:
        The labels of each row, as `interval` takes them.
    """
    labels = table[cluster_columns(table)].dropna(axis="columns")
    return list(labels.itertuples(index=False, name=None))
