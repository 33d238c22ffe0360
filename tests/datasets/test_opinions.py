"""Answers of groups: distributions by hand, what is left out, splits, refusals."""

import pytest

from coldlens.datasets import load_examples
from coldlens.errors import ArgumentError, DataError
from coldlens.examples.example import TokenPolicy

SPLITS = ("train", "validation", "test")
GOOD, BAD = "Good, on the whole", "Bad"
PEOPLE = {"Red": {GOOD: 6.0, BAD: 2.0, "Refused": 5.0}, "Blue Green": {GOOD: 0, BAD: 3.0}}


def polls(numbers, people=PEOPLE):
    return {f"Q{i}": (f"What of\nnumber {i}?", people) for i in numbers}


def load_splits(name, folder):
    return [load_examples(name, split, folder=folder.path) for split in SPLITS]


def whole(name, folder):
    return [example for split in load_splits(name, folder) for example in split]


def test_distribution_by_hand(folder):
    folder.write_opinions(polls(range(10)))
    for example in whole("opinions_qa/PARTY/Red", folder):
        assert "What of number " in example.prompt
        assert example.prompt.endswith(
            "?\n\nChoices:\n(A) Good, on the whole\n(B) Bad\n\nAnswer: ("
        )
        assert (example.options, example.distribution) == (("A", "B"), (0.75, 0.25))
        assert (example.positive, example.negative) == ("A", "B")
    assert {e.distribution for e in whole("opinions_qa/PARTY/Blue Green", folder)} == {(0.0, 1.0)}


def test_splits_share_no_question_and_are_those_of_every_group(folder):
    folder.write_opinions(polls(range(20)))
    only_red = {"Red": PEOPLE["Red"], "Blue Green": {}}
    folder.write_opinions(polls(range(10, 30), only_red), "wave_2")
    folder.write_opinions(polls(range(20)), attribute="AGE")
    folder.write_opinions(polls(range(10, 30), only_red), "wave_2", attribute="AGE")
    red = load_splits("opinions_qa/PARTY/Red", folder)
    # Numbers 10 to 19 are answered in another way in each wave.
    assert list(map(len, red)) == [
        len(split) for split in load_splits("opinions_qa/AGE/Red", folder)
    ]
    split_of = {}
    for name in ("PARTY/Red", "PARTY/Blue Green", "AGE/Red"):
        for split, loaded in zip(SPLITS, load_splits(f"opinions_qa/{name}", folder), strict=True):
            for example in loaded:
                assert split_of.setdefault(example.prompt, split) == split
    assert len(split_of) == 20
    assert len(whole("opinions_qa/PARTY/Blue Green", folder)) == 10


def test_a_question_in_two_waves_counts_once(folder):
    folder.write_opinions(polls(range(10)))
    folder.write_opinions(polls(range(15)), "wave_2")
    splits = load_splits("opinions_qa/PARTY/Red", folder)
    assert list(map(len, splits)) == [9, 3, 3]
    assert "(sha256 " in splits[0].source
    assert splits[0].source.endswith("15 questions), of 15 questions left out none")


def test_one_wording_under_two_keys_stays_in_one_split(folder):
    twice = {f"{key} again": poll for key, poll in polls(range(20)).items()}
    folder.write_opinions(polls(range(20)) | twice)
    for split in load_splits("opinions_qa/PARTY/Red", folder):
        assert len(split) == 2 * len({example.prompt for example in split})


LEFT_OUT = {
    "reworded": ({"Q0": ("Other words?", PEOPLE)}, None, "1 that differ between waves"),
    "lost answers": (
        {"N": ("New?", {"Red": {GOOD: 1}, "Blue Green": {}})},
        None,
        "1 whose answers are not its options",
    ),
    "other answers": (
        {"N": ("New?", {"Red": {GOOD: 1, BAD: 1, "Ugly": 1}})},
        None,
        "1 whose answers are not its options",
    ),
    "one option": (
        {"N": ("New?", {"Red": {GOOD: 1, "Refused": 1}})},
        {"N": [GOOD]},
        "1 with fewer than two options",
    ),
    "nobody": (
        {"N": ("New?", {"Red": {"Refused": 2}, "Blue": {GOOD: 1, BAD: 2}})},
        None,
        "1 that nobody of the group answered",
    ),
}


@pytest.mark.parametrize(("added", "options", "message"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_what_is_left_out_is_counted(folder, added, options, message):
    folder.write_opinions(polls(range(10)))
    folder.write_opinions(added, "wave_2", options=options)
    loaded = load_splits("opinions_qa/PARTY/Red", folder)
    left = 9 if message.endswith("waves") else 10
    assert sum(map(len, loaded)) == left
    assert loaded[0].source.endswith(f"of {left + 1} questions left out {message}") or left == 9
    assert f"left out {message}" in loaded[0].source


def test_formats(folder):
    folder.write_opinions(polls(range(10)))
    options = {"folder": folder.path, "prompt_format": "chat"}
    loaded = load_examples("opinions_qa/PARTY/Red", **options)
    assert loaded.policy == TokenPolicy(chat_template=True, answer_prefix="(")
    assert loaded[0].prompt.endswith("(B) Bad")
    with pytest.raises(ArgumentError, match="a policy with chat_template=True"):
        load_examples("opinions_qa/PARTY/Red", **options, policy=TokenPolicy())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "PARTEE/Red",
            r"the attributes of opinions_qa: .*'; found 'opinions_qa/PARTEE'. Perhaps you",
        ),
        (
            "PARTY/Rid",
            r"the groups of .*; found 'opinions_qa/PARTY/Rid'. .* 'opinions_qa/PARTY/Red'",
        ),
        ("PARTY", r"the groups of opinions_qa: 'opinions_qa/PARTY/Blue Green', .*; found"),
        ("", r"the attributes of opinions_qa: 'opinions_qa/PARTY'; found 'opinions_qa/'"),
    ],
)
def test_unknown_group_or_attribute(folder, name, message):
    folder.write_opinions(polls(range(10)))
    with pytest.raises(DataError, match=message):
        load_examples(f"opinions_qa/{name}", folder=folder.path)


def test_absent_folder(tmp_path):
    with pytest.raises(DataError, match=r"a folder with opinions_qa/human_resp/.*; found none in"):
        load_examples("opinions_qa/PARTY/Red", folder=tmp_path)


def test_absent_options(folder):
    folder.write_opinions(polls(range(3)))
    (folder.path / "opinions_qa/human_resp/wave_1/info.csv").unlink()
    with pytest.raises(DataError, match=r"a file info\.csv, with the options .*; found none"):
        load_examples("opinions_qa/PARTY/Red", folder=folder.path)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("PARTY_data.json", "{", r"valid JSON in .*PARTY_data\.json; found"),
        (
            "PARTY_data.json",
            "[]",
            r"an object with a field for each question .*; found an empty one",
        ),
        ("PARTY_data.json", "[1]", r"an object with a field for each question .*; found list"),
        ("PARTY_data.json", '{"Q": 1}', r"named fields in .*PARTY_data\.json, 'Q'; found int"),
        ("PARTY_data.json", '{"Q": {}}', r"'question_text' in .*json, 'Q'; found 'key'"),
        (
            "PARTY_data.json",
            '{"Q": {"question_text": "Why?", "Red": {"Good": "many"}}}',
            r"number of people by answer in field 'Red' of .*'Q'; found \{'Good': 'many'\}",
        ),
        ("info.csv", "key,references\nQ0,nan\n", r"'references' of .*info\.csv, row 1; found nan"),
        (
            "info.csv",
            "key,references\nQ0,[1]\n",
            r"'references' of .*info\.csv, row 1; found \[1\]",
        ),
    ],
)
def test_unreadable_files(folder, file, text, message):
    folder.write_opinions(polls(range(3)))
    folder.write(f"opinions_qa/human_resp/wave_1/{file}", text)
    with pytest.raises(DataError, match=message):
        load_examples("opinions_qa/PARTY/Red", folder=folder.path)
