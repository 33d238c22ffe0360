"""The script of the model card fills tables between markers."""

import pytest

from coldlens.demo.card import CARD, filled, table

TABLES = ("model", "behaviours", "matrix-before", "matrix-after", "facts", "open", "groups")


def test_table_is_markdown_with_two_decimals():
    assert table(["a", "b"], [["x", 0.125], ["y", 3]]) == (
        "| a | b |\n| --- | --- |\n| x | 0.12 |\n| y | 3 |"
    )


def test_tables_go_between_their_markers():
    card = "top\n<!-- begin t -->\nold\n<!-- end t -->\nend"
    once = filled(card, {"t": r"new \1"})
    assert once == "top\n<!-- begin t -->\nnew \\1\n<!-- end t -->\nend"
    assert filled(once, {"t": r"new \1"}) == once


def test_a_missing_place_is_an_error():
    with pytest.raises(ValueError, match="0 places for the table 't'"):
        filled("no markers", {"t": "x"})


def test_the_card_has_a_filled_place_for_every_table():
    text = CARD.read_text()
    for name in TABLES:
        between = text.split(f"<!-- begin {name} -->\n")[1].split(f"<!-- end {name} -->")[0]
        assert between.count("|") > 10
