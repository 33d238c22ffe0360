"""What the page of experiments and the README print is what the committed tables say."""

from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/experiments.md").read_text()
README = (ROOT / "README.md").read_text()
TABLES = ROOT / "figures/tables/demo"
BEHAVIOURS = (
    *("coordinate-other-ais", "corrigible-neutral-HHH", "hallucination", "myopic-reward"),
    *("refusal", "survival-instinct", "sycophancy"),
)


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(TABLES / name)


def short(value: float, digits: int = 2) -> str:
    """0.951 as ".95", −0.2 as "−.20", 1 as "1.00"."""
    return f"{value:.{digits}f}".replace("0.", ".", 1).replace("-", "−")


def ends(row, digits: int = 2) -> str:
    return f"[{short(row.low, digits)}, {short(row.high, digits)}]"


def accuracies():
    return [row for _, row in table("behaviours/accuracy.csv").iterrows()]


def curves():
    curve = table("sample_efficiency/curve.csv")
    return [rows.sort_values("size") for _, rows in curve[curve["size"] > 0].groupby("method")]


@pytest.mark.parametrize("row", accuracies(), ids=lambda row: f"{row.method}, {row.setting}")
def test_the_main_table(row):
    scores = " | ".join(short(row[name]) for name in BEHAVIOURS)
    mean = f"{short(row['mean'], 3)} {ends(row, 3)}"
    line = f"| {row.method} | {scores} | {mean} | {row.average_rank:.1f} |"
    assert f"{line} {row.capability_change:+.3f} |" in PAGE


@pytest.mark.parametrize("rows", curves(), ids=lambda rows: rows.method.iloc[0])
def test_the_sample_efficiency(rows):
    cells = [f"{short(row['mean'])} {ends(row)}" for _, row in rows.iterrows()]
    assert f"| {rows.method.iloc[0]} | {' | '.join(cells)} |" in PAGE


@pytest.mark.parametrize("row", list(table("behaviours/differences.csv").itertuples()))
def test_the_differences(row):
    line = f"| {row.method}, {row.setting} | {short(row.mean, 3)} {ends(row, 3)} |"
    static = {"DiffMean", "RepE", "ICV", "Probe", "Random", "InContext"}
    assert (line in PAGE) == (row.method not in static)


def test_the_readme():
    names = {"base": "none"} | dict.fromkeys(
        ("DiffMean", "ReFTVector", "ColdKernel", "ColdFD", "FineTune", "ReFTMLP", "Random"),
        "paired",
    )
    means = table("behaviours/accuracy.csv").set_index(["setting", "method"])["mean"]
    line = " | ".join(short(means[setting, method]) for method, setting in names.items())
    assert f"| bundled model | {line} |" in README


def test_the_share_of_the_gain():
    curve = table("sample_efficiency/curve.csv").set_index(["method", "size"])["mean"]
    gains = curve["ColdFD"] - curve["base"].iloc[0]
    ten, two = (f"{gains[size] / gains[200]:.0%}".replace("%", " %") for size in (10, 2))
    assert f"ten add {ten}, two add {two}" in PAGE


def groups():
    overall = table("pluralistic/overall.csv")
    return overall[overall.chosen == overall.chosen.iloc[0]].query("method != 'ColdKernel'")


@pytest.mark.parametrize("row", list(groups().itertuples()), ids=lambda row: row.method)
def test_the_groups(row):
    numbers = (row.change_low, row.change_high, row.change_pairs_low, row.change_pairs_high)
    low, high, pairs_low, pairs_high = (short(number, 3) for number in numbers)
    change = "+" * (row.change > 0) + short(row.change, 3)
    assert f"| {change} [{low}, {high}] | [{pairs_low}, {pairs_high}] |" in PAGE
