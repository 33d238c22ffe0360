"""The sentences of the index page say what the tables say."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from coldlens.datasets import load_examples
from coldlens.figures.drawings import DRAWINGS
from coldlens.figures.drawings.lines import power, span
from coldlens.figures.gallery import INDEX, found, index_page

FIGURES = Path(__file__).parents[2] / "figures"
ENTRIES = found(FIGURES / "tables")


def name_of(entry):
    return f"{entry.subject}-{entry.drawing.name}"


def committed(subject, name):
    (entry,) = [e for e in ENTRIES if (e.subject, e.drawing.name) == (subject, name)]
    return entry.read()


def test_the_committed_page_is_that_of_the_committed_tables():
    assert (FIGURES / INDEX).read_text() == index_page(ENTRIES, FIGURES)


def test_every_link_of_the_page_leads_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", (FIGURES / INDEX).read_text())
    assert len(links) == 3 * len(ENTRIES)
    assert all((FIGURES / link).exists() for link in links)


@pytest.mark.parametrize("entry", ENTRIES, ids=name_of)
def test_other_tables_give_another_sentence(entry):
    tables, _ = entry.read()
    sentence = entry.drawing.reading(tables)
    assert sentence.endswith(".")
    assert "nan" not in sentence
    other = {}
    for name, table in tables.items():
        numbers = table.select_dtypes("float").columns.difference(["epsilon", "lr", "layer", "eta"])
        other[name] = table.assign(
            **{column: table[column] * np.linspace(0.3, 0.6, len(table)) for column in numbers}
        )
    assert entry.drawing.reading(other) != sentence


@pytest.mark.parametrize("entry", ENTRIES, ids=name_of)
def test_every_committed_table_says_where_it_is_from(entry):
    _, about = entry.read()
    assert about["analysis"] == entry.drawing.name
    assert {"settings", "date", "versions", "platform"} <= set(about)
    assert not about["settings"].get("quick")
    if entry.subject != "random":
        assert about["model"] == entry.subject
        assert len(about["model_fingerprint"]) == 32
        assert len(about["data_hash"]) == 64


@pytest.mark.parametrize(
    ("subject", "source"),
    [("demo", "demo/refusal"), ("stories260K", str(FIGURES / "data" / "kindness.jsonl"))],
)
@pytest.mark.parametrize(
    "name", ["kernel_vs_entk", "direction_cosines", "unified_perspective", "epsilon"]
)
def test_tables_are_of_the_data_that_are_there(subject, source, name):
    assert committed(subject, name)[1]["data_hash"] == load_examples(source).hash()


def test_kernel_sentence():
    tables, _ = committed("demo", "kernel_vs_entk")
    sentence = ENTRIES[0].drawing.reading(tables)
    constant = tables["ladder"].query("rung == 'constant'")
    means = [constant.cosine[constant.layer == layer].mean() for layer in range(4)]
    assert f"{min(means):.2f} (layer {np.argmin(means)})" in sentence
    assert f"{max(means):.2f} (layer {np.argmax(means)})" in sentence
    for layer in (0, 3):
        pairs = tables["pairs"].query("layer == @layer and not same_prompt")
        assert f"{np.median(pairs.alignment):.2f} at layer {layer}" in sentence
    scalar, last = (
        tables["ladder"].query("rung == @rung").cosine.mean()
        for rung in ("scalar", "last_position")
    )
    assert f"replacing blocks by scalars ({last - scalar:.2f})" in sentence


def test_a_claim_that_fails_is_said():
    tables, _ = committed("demo", "unified_perspective")
    reading = DRAWINGS["unified_perspective"].reading
    claims = (tables["checks"].case == "claim").sum()
    assert reading(tables).startswith(f"{claims} of {claims} claims hold")
    broken = tables["checks"].copy()
    broken.loc[broken.index[broken.case == "claim"][0], "holds"] = False
    broken.loc[broken.index[broken.case == "counter"][:2], "holds"] = True
    sentence = reading({**tables, "checks": broken})
    counters = (broken.case == "counter").sum()
    assert sentence.startswith(f"{claims - 1} of {claims} claims hold")
    assert f"{counters - 2} of {counters} counter-cases fail" in sentence


def test_epsilon_sentence():
    tables, _ = committed("demo", "epsilon")
    reading = DRAWINGS["epsilon"].reading
    rows = tables["errors"].query("scheme == 'forward' and precision == 'float32'")
    at = np.median(rows.error[np.isclose(rows.epsilon, 1e-6, rtol=1e-3)])
    assert f"{power(at)} in float32" in reading(tables)
    least = min(np.median(part.error) for _, part in rows.groupby("epsilon"))
    assert f"{power(least)} in float32" in reading(tables)


def test_main_table_sentence():
    rows = [
        ("none", "base", 0.4, 0.3, 0.5, 6.0, 0.0),
        ("paired", "DiffMean", 0.7, 0.6, 0.8, 2.0, 0.0),
        ("paired", "ColdFD", 0.6, 0.5, 0.7, 3.0, 0.0),
        ("paired", "Random", 0.45, 0.35, 0.55, 5.0, 0.0),
        ("positive-only", "ColdFD", 0.8, 0.75, 0.9, 1.0, 0.0),
        ("positive-only", "Probe", 0.5, 0.4, 0.6, 4.0, 0.0),
    ]
    names = DRAWINGS["behaviours"].tables["main"]
    main = pd.DataFrame(rows, columns=list(names))
    assert DRAWINGS["behaviours"].reading({"main": main}) == (
        "Unsteered the behaviours have a mean probability of 0.40 [0.30, 0.50]; the best average "
        "ranks of 6 have ColdFD (positive-only) 0.80 [0.75, 0.90] (rank 1.0), DiffMean (paired) "
        "0.70 [0.60, 0.80] (rank 2.0), ColdFD (paired) 0.60 [0.50, 0.70] (rank 3.0); "
        "further down are Random (paired) 0.45 [0.35, 0.55] (rank 5.0) (95 % intervals over "
        "wordings)."
    )


def test_sample_efficiency_sentence():
    rows = [
        ("none", "base", 0, 0.4, 0.3, 0.5, 0.4, 0.4),
        *(("s", "ColdFD", size, size / 100, 0.01, 0.9, 0.0, 1.0) for size in (50, 2, 10)),
    ]
    names = DRAWINGS["sample_efficiency"].tables["curve"]
    curve = pd.DataFrame(rows, columns=list(names))
    assert DRAWINGS["sample_efficiency"].reading({"curve": curve}) == (
        "From 2 to 50 examples the mean probability of the behaviours, unsteered 0.40, goes as "
        "ColdFD 0.02 → 0.50 [0.01, 0.90] (95 % intervals over wordings)."
    )


def test_frontier_sentence():
    tables, _ = committed("demo", "effect_and_side_effect")
    sentence = DRAWINGS["effect_and_side_effect"].reading(tables)
    table = tables["frontier"]
    for method in ("ColdFD", "Random"):
        rows = table.query("behaviour == 'sycophancy' and method == @method")
        best = rows[rows.validation_kl <= 0.1].sort_values("validation_effect").iloc[-1]
        told = f"{method} {best.effect:+z.2f} [{best.effect_low:+z.2f}, {best.effect_high:+z.2f}]"
        shown = f"{told} (η = {best.relative:g}, KL {best.kl:.2f})"
        assert shown in sentence.split("sycophancy: ")[1]
    costly = table.assign(validation_kl=table.validation_kl.where(table.method != "Random", 1.0))
    assert "Random none" in DRAWINGS["effect_and_side_effect"].reading({"frontier": costly})


def test_grid_sentence():
    tables, _ = committed("demo", "layer_eta")
    sentence = DRAWINGS["layer_eta"].reading(tables)
    table = tables["grid"].query("method in ('ColdFD', 'ColdKernel', 'DiffMean', 'Random')")
    assert f"{(~table.within).sum()} of {len(table)} cells" in sentence
    rows = table.query("behaviour == 'refusal' and method == 'ColdFD' and within")
    best = rows.sort_values("effect").iloc[-1]
    assert f"for refusal ColdFD layer {best.layer}, η = {best.relative:g}" in sentence
    assert rows.effect.max() < table.query("behaviour == 'refusal'").effect.max()


def test_specificity_sentence():
    tables, _ = committed("demo", "specificity")
    sentence = DRAWINGS["specificity"].reading(tables)
    pairs = tables["pairs"].query("method == 'ColdFD'")
    own = pairs[pairs.steered == pairs.measured].change.mean()
    others = pairs[(pairs.steered != pairs.measured) & (pairs.measured != "facts")].change
    assert f"ColdFD {own:+z.2f} [" in sentence
    assert f"the others by {others.abs().mean():.2f} in size" in sentence


@pytest.mark.parametrize(
    ("value", "text"),
    [(3e-5, "3 × 10⁻⁵"), (1e-6, "10⁻⁶"), (0.26, "0.3"), (2.7, "3"), (2.4e8, "2 × 10⁸"), (0.0, "0")],
)
def test_powers(value, text):
    assert power(value) == text


def test_spans():
    assert span([0.123, np.nan, 0.456]) == "0.12 to 0.46"
    assert span([0.121, 0.122]) == "0.12"
    assert span([]) == "–"
