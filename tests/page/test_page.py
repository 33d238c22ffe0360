"""The page as a file: what is in it, what is not, and when it is written."""

import hashlib
import math
import re
from base64 import b64encode
from dataclasses import replace

import pandas as pd
import pytest
from page.pages import HOSTILE, Page

import coldlens as cl
from coldlens.page import check_page, write
from coldlens.page.tables import table


def frame(columns):
    return pd.DataFrame(columns)


def assert_same(columns, expected):
    found = frame(columns)
    assert list(found) == list(expected)
    for name in found:
        known = [None if pd.isna(value) else value for value in expected[name].tolist()]
        assert [None if pd.isna(value) else value for value in found[name]] == known


def test_tables_are_the_results_to_the_last_digit(page, results, tmp_path):
    data = page.data
    comparison, agreement = results.comparison, results.agreement
    assert_same(data["directions"]["tables"]["directions"], comparison.table)
    assert_same(data["directions"]["tables"]["tokens"], comparison.tokens)
    for name, saved in (("ladder", "ladder"), ("blocks", "table"), ("by_layer", "by_layer")):
        assert_same(data["kernel"]["tables"][name], getattr(agreement, saved))
    assert_same(data["checks"]["tables"]["every_check"], results.checks.table)
    folder = comparison.save(tmp_path / "saved")
    saved = pd.read_csv(folder / "table.csv")
    assert_same(data["directions"]["tables"]["directions"], saved)


def test_cosines_are_those_of_the_report(page, results):
    rows = frame(page.data["directions"]["tables"]["cosines"])
    for layer, found in rows.groupby("layer"):
        square = found.pivot_table(
            index="method", columns="other", values="cosine", sort=False, dropna=False
        )
        expected = results.comparison.cosines(layer).astype("float64")
        pd.testing.assert_frame_equal(square, expected, check_exact=True, check_names=False)


def test_means_over_queries_are_those_of_the_tables(page, results):
    tables, agreement = page.data["kernel"]["tables"], results.agreement
    means = frame(tables["ladder_means"]).set_index(["layer", "rung"])
    one = agreement.ladder.query("layer == 1 and rung == 'scalar'").cosine
    assert means.loc[(1, "scalar"), "mean"] == pytest.approx(one.mean(), rel=1e-12)
    assert means.loc[(1, "scalar"), "min"] == one.min()
    blocks = frame(tables["block_quantiles"]).set_index(["layer", "same_prompt"])
    one = agreement.table.query("layer == 2 and same_prompt == False").alignment
    assert blocks.loc[(2, False), "median"] == one.median()
    assert blocks.loc[(2, False), "high"] == one.quantile(0.9)


def test_shares_of_a_layer_add_up_to_one(page, results):
    for name in ("shares", "shares_by_position"):
        shares = frame(page.data["kernel"]["tables"][name])
        totals = shares.groupby("layer").share.sum()
        assert totals.tolist() == pytest.approx([1] * 3, abs=1e-4)
    rows = frame(page.data["kernel"]["tables"]["shares"])
    own = results.agreement.positions.query(
        "layer == 1 and example == 1 and side == 'prompt' and position == 0"
    )
    found = rows.query("layer == 1 and example == 1 and side == 'prompt' and position == 0")
    assert found.share.item() == pytest.approx(own.share.mean(), rel=1e-12)


def test_every_token_of_the_examples_has_a_text(page, results):
    prompt, positive, negative = page.data["kernel"]["examples"][0]
    ids = results.agreement.token_ids["examples"][0]
    assert [len(part) for part in (prompt, positive, negative)] == [len(part) for part in ids]
    assert (prompt[1], prompt[-1], positive, negative) == ("the", "(", ["A"], ["B"])


def test_steering_is_each_evaluations_summary(page, results):
    rows = frame(page.data["steering"]["tables"]["steering"])
    assert rows.group.unique().tolist() == list(results.evaluations)
    (one,) = (
        one
        for one in results.evaluations["length 1 of the residual stream"]
        if one.about["method"] == "ColdKernel" and one.about["layers"] == [2]
    )
    shown = rows.query(
        "group == 'length 1 of the residual stream' and method == 'ColdKernel' and layer == 2"
    ).set_index("measurement")
    assert shown.eta.unique().tolist() == [one.about["eta"]]
    pd.testing.assert_frame_equal(shown[list(one.summary)], one.summary, check_exact=True)


def test_displacements_have_the_length_that_the_heading_says(results):
    table = results.comparison.table.query("layer == 2 and method == 'ColdKernel'")
    (one,) = (
        one
        for one in results.evaluations["length 0.1 of the residual stream"]
        if one.about["method"] == "ColdKernel" and one.about["layers"] == [2]
    )
    assert one.about["eta"] * table.relative_norm.item() == pytest.approx(0.1, rel=1e-5)


def test_nothing_is_loaded_from_elsewhere(page):
    for tag, attributes in page.tags:
        assert "src" not in attributes
        assert tag != "link"
        assert (attributes.get("href") or "#").startswith("#")
    assert re.findall(r"https?://[^\"']*", page.contents["script"][1]) == [
        "http://www.w3.org/2000/svg"
    ]
    assert "url(" not in "".join(page.contents["style"])


def test_the_browser_may_run_and_style_by_nothing_else(page):
    (policy,) = (
        attributes["content"]
        for _, attributes in page.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    for kind, content in (
        ("style", page.contents["style"][0]),
        ("script", page.contents["script"][1]),
    ):
        digest = b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_names_and_tokens_are_text_and_never_markup(page):
    assert HOSTILE in page.contents["h1"][0]
    assert HOSTILE in page.contents["title"][0]
    assert HOSTILE in page.data["directions"]["tables"]["tokens"]["token"]
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert [tag for tag, _ in page.tags].count("script") == 2


def test_absent_results_have_no_section(results, tmp_path):
    path = write(tmp_path / "page.html", agreement=results.agreement)
    page = Page(path.read_text())
    assert {"kernel"} == {"directions", "kernel", "checks", "steering"} & page.ids
    assert set(page.data) == {"layers", "kernel"}
    first = results.agreement.token_ids["examples"][0][0][0]
    assert page.data["kernel"]["examples"][0][0][0] == f"⟨{first}⟩"


def test_a_table_keeps_what_json_cannot_say():
    given = pd.DataFrame({"a": [1.5, math.nan, math.inf, -math.inf], "b": ["NaN", "", "1", None]})
    assert table(given) == {"a": [1.5, None, "inf", "-inf"], "b": ["NaN", "", "1", None]}


def test_a_page_is_replaced_and_another_file_is_not(results, tmp_path):
    path = tmp_path / "page.html"
    results.write(path)
    write(path, checks=results.checks)
    assert "kernel" not in Page(path.read_text()).ids
    path.write_text("<html>mine</html>")
    with pytest.raises(cl.DataError, match="which holds something else"):
        results.write(path)
    assert path.read_text() == "<html>mine</html>"
    assert [one.name for one in tmp_path.iterdir()] == ["page.html"]


def test_where_a_page_cannot_go(tmp_path):
    (tmp_path / "file").touch()
    for path, text in (
        (tmp_path / "page.pdf", "which does not end so"),
        (tmp_path, "which does not end so"),
        (tmp_path / "file" / "page.html", "which cannot be written"),
    ):
        with pytest.raises(cl.DataError, match=text):
            check_page(path)
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(cl.DataError, match="which holds something else"):
        check_page(tmp_path / "folder.html")
    check_page(tmp_path / "new" / "page.html")


def test_results_that_make_no_page(results, tmp_path):
    path = tmp_path / "page.html"
    with pytest.raises(cl.ArgumentError, match="found no result"):
        write(path)
    about = {**results.checks.about, "model_fingerprint": "0", "model_id": "other"}
    with pytest.raises(cl.ArgumentError, match="found results of tiny-llama, other"):
        write(path, comparison=results.comparison, checks=replace(results.checks, about=about))
    unsteered = cl.evaluate(results.model, [cl.Example("the user (", "A", "B")])
    with pytest.raises(cl.ArgumentError, match="evaluations with one layer steered"):
        write(path, evaluations={"none": [unsteered]})
    assert not path.exists()
