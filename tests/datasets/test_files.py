"""A user's own files: what is read, and what each refusal says."""

import hashlib
import json

import pytest

from coldlens.datasets import load_examples
from coldlens.errors import ColdlensError, DataError
from coldlens.examples.example import Example, TokenPolicy

ROWS = [
    {"prompt": "one :", "positive": " yes", "negative": " no"},
    {"prompt": "two,\nthree :", "positive": ' "oui"', "negative": ""},
]
EXPECTED = (Example("one :", " yes", " no"), Example("two,\nthree :", ' "oui"'))


@pytest.fixture
def write_rows(folder):
    def write(name, rows):
        if name.endswith(".json"):
            return folder.write(name, json.dumps(rows))
        if name.endswith(".jsonl"):
            return folder.write(name, "\n\n".join(json.dumps(row) for row in rows) + "\n")
        return folder.write_csv(name, [rows[0].keys(), *(row.values() for row in rows)])

    return write


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv"])
@pytest.mark.parametrize("as_type", [str, lambda path: path])
def test_each_kind_of_file(write_rows, suffix, as_type):
    path = write_rows(f"mine{suffix}", ROWS)
    loaded = load_examples(as_type(path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    assert loaded.examples == EXPECTED
    assert loaded.name == "mine"
    assert loaded.source == f"{path} (sha256 {digest}, 2 rows), train"
    assert loaded.policy == TokenPolicy()


def test_fields_of_token_ids_and_null(write_rows):
    rows = [{"prompt": [1, 2], "positive": [3], "negative": [4]}, {"prompt": "a", "positive": [5]}]
    rows.append({"prompt": "b", "positive": "c", "negative": None})
    loaded = load_examples(write_rows("ids.jsonl", rows))
    assert loaded.examples == (
        Example((1, 2), (3,), (4,)),
        Example("a", (5,)),
        Example("b", "c"),
    )


POLLS = [
    {"prompt": "a :", "options": ["A", "B"], "distribution": [0.25, 0.75]},
    {"prompt": "b :", "options": ["x", "y", "z"], "distribution": [1, 0, 0], "positive": "y"},
]


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv"])
def test_answers_of_a_group(write_rows, suffix):
    rows = POLLS
    if suffix == ".csv":
        rows = [
            {
                "prompt": row["prompt"],
                "positive": row.get("positive", ""),
                "options": json.dumps(row["options"]),
                "distribution": json.dumps(row["distribution"]),
            }
            for row in POLLS
        ]
    assert load_examples(write_rows(f"polls{suffix}", rows)).examples == (
        Example("a :", "B", "A", options=["A", "B"], distribution=[0.25, 0.75]),
        Example("b :", "y", options=["x", "y", "z"], distribution=[1.0, 0.0, 0.0]),
    )


def test_options_of_token_ids(write_rows):
    rows = [{"prompt": [7], "options": [[5], [6]], "distribution": [0.5, 0.5]}]
    loaded = load_examples(write_rows("ids.jsonl", rows))
    assert loaded.examples == (Example([7], options=[[5], [6]], distribution=[0.5, 0.5]),)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"options": "A or B"}, r"a list in field 'options' of .*:1; found 'A or B'"),
        ({"options": ["A", "B"]}, r"together in .*:1; found no `distribution`"),
        (
            {"options": ["A", "B"], "distribution": [0.5, 0.6]},
            r"sum to 1 in .*:1; found \[0\.5, 0\.6\], which sum to 1\.1",
        ),
        (
            {"options": ["A", "B"], "distribution": [0.5, "half"]},
            r"numbers in field 'distribution' of .*:1; found 'half'",
        ),
        (
            {"options": ["A", ""], "distribution": [0.5, 0.5]},
            r"in field 'options' of .*:1; found ''",
        ),
    ],
)
def test_broken_answers_of_a_group(write_rows, fields, message):
    with pytest.raises(DataError, match=message):
        load_examples(write_rows("a.jsonl", [{"prompt": "a :", **fields}]))


def test_byte_order_mark_is_no_part_of_the_header(folder):
    path = folder.write("excel.csv", "\ufeffprompt,positive\nwhy :, so\n")
    assert load_examples(path).examples == (Example("why :", " so"),)


def test_line_separators_inside_a_jsonl_string_are_text(folder):
    path = folder.write("a.jsonl", '{"prompt": "a\u2028b", "positive": "c"}\r\n')
    assert load_examples(path)[0].prompt == "a\u2028b"


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv"])
@pytest.mark.parametrize(
    ("given", "labels"),
    [
        (["first", "7"], ("first", "7")),
        ("sports", ("sports",)),
        ("7", ("7",)),
        ("null", ("null",)),
        ("", ()),
        ([], ()),
    ],
    ids=repr,
)
def test_clusters(write_rows, suffix, given, labels):
    cell = json.dumps(given) if suffix == ".csv" and isinstance(given, list) else given
    rows = [{"prompt": "a :", "positive": "b", "clusters": cell}] * 2
    assert load_examples(write_rows(f"mine{suffix}", rows)).clusters == [labels] * 2


@pytest.mark.parametrize("clusters", [["a", 1], 3, ["a", ""], {"topic": "a"}], ids=repr)
def test_clusters_that_are_no_labels(write_rows, clusters):
    rows = [{"prompt": "a :", "positive": "b", "clusters": clusters}]
    with pytest.raises(DataError, match=r"labels in field 'clusters' of .*a\.jsonl:1; found") as no:
        load_examples(write_rows("a.jsonl", rows))
    assert repr(clusters) in str(no.value)


def test_clusters_of_some_rows_only(write_rows):
    rows = [{"prompt": "a :", "positive": "b", "clusters": "x"}, {"prompt": "c :", "positive": "d"}]
    with pytest.raises(ColdlensError, match=r"in every example of 'mine'; found 0 to 1"):
        load_examples(write_rows("mine.jsonl", rows))


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv"])
def test_splits_of_the_file_are_honoured(write_rows, suffix):
    rows = [row | {"split": split} for row, split in zip(ROWS, ("test", "train"), strict=True)]
    path = write_rows(f"mine{suffix}", rows)
    assert load_examples(path, "test").examples == EXPECTED[:1]
    assert load_examples(path, "train").examples == EXPECTED[1:]
    with pytest.raises(DataError, match=r"'validation' in .*; found only 'test', 'train'"):
        load_examples(path, "validation")


def test_other_split_of_a_file_without_splits(write_rows):
    path = write_rows("mine.csv", ROWS)
    with pytest.raises(DataError, match=r"rows of split 'test' in .*mine\.csv; found no field"):
        load_examples(path, "test")


BROKEN = [
    (
        "a.jsonl",
        '{"prompt": "a", "positive": "b"}\n{"prompt": "a", "positive": "b", "negatve": "c"}',
        r"no field that is nearly 'negative' in .*a\.jsonl:2; found 'negatve'. Write 'negative'",
    ),
    ("a.csv", "prompt,Positive\na,b\n", r"nearly 'positive' in .*row 1; found 'Positive'"),
    ("a.csv", "prompt,positive, negative\na,b,c\n", r"nearly 'negative' .* found ' negative'"),
    ("a.csv", "prompt,positive,spilt\na,b,test\n", r"nearly 'split' .* found 'spilt'"),
    ("a.csv", "prompt,positive,native\na,b,c\n", r"nearly 'negative' .* found 'native'"),
    (
        "a.csv",
        "prompt,positive,negative,NEGATIVE\na,b,c,d\n",
        r"nearly 'negative' .* found 'NEGATIVE'",
    ),
    (
        "a.jsonl",
        '{"prompt": "a", "positive": "b", "negatve": "c"}\n'
        '{"prompt": "a", "positive": "b", "negative": "c"}',
        r"nearly 'negative' in .*a\.jsonl:1; found 'negatve'",
    ),
    (
        "a.csv",
        "prompt,positive,positive\na,b,c\n",
        r"columns with different names in .*a\.csv; found 'positive' more than once. Rename",
    ),
    ("a.json", "", r"at least one row in .*a\.json; found an empty file"),
    ("a.json", "[]", r"at least one row in .*a\.json; found no rows"),
    ("a.jsonl", "\n", r"at least one row in .*a\.jsonl; found an empty file"),
    ("a.csv", "", r"at least one row in .*a\.csv; found an empty file"),
    ("a.csv", "prompt,positive\n", r"at least one row in .*a\.csv; found no rows"),
    ("a.json", '[{"prompt": ]', r"valid JSON in .*a\.json; found Expecting value at line 1, col"),
    ("a.json", '{"prompt": "a"}', r"a list of objects in .*a\.json; found dict"),
    ("a.json", "[1]", r"an object with named fields in .*a\.json, item 1; found int"),
    ("a.jsonl", '{"prompt": "a", "positive": "b"}\n{"pro', r"valid JSON in .*a\.jsonl:2; found"),
    ("a.jsonl", "\n[1]", r"an object with named fields in .*a\.jsonl:2; found list"),
    ("a.jsonl", '{"positive": "b"}', r"column 'prompt' in .*a\.jsonl:1; found 'positive'"),
    ("a.jsonl", "{}", r"column 'prompt' in .*a\.jsonl:1; found no fields"),
    ("a.csv", "prompt,pos\na,b\n", r"column 'positive' in .*a\.csv, row 1; found 'prompt', 'pos'"),
    ("a.csv", "prompt,positive\na,b\nc\n", r"2 columns \(prompt, positive\) in .*row 2; found 1"),
    ("a.csv", "prompt,positive\na,b,c\n", r"2 columns \(prompt, positive\) in .*row 1; found 3"),
    ("a.csv", 'prompt,positive\n"a"b,c\n', r"valid CSV in .*a\.csv; found .* at line 2"),
    ("a.csv", "prompt,positive\na,\n", r"in field 'positive' of .*a\.csv, row 1; found ''"),
    ("a.json", '[{"prompt": [], "positive": "b"}]', r"'prompt' of .*, item 1; found \[\]"),
    ("a.json", '[{"prompt": [true], "positive": "b"}]', r"'prompt' of .*; found \[True\]"),
    (
        "a.json",
        '[{"prompt": 3, "positive": "b"}]',
        r"a list of token ids in field 'prompt'.*found 3",
    ),
    (
        "a.csv",
        "prompt,positive,split\na,b,dev\n",
        r"'split' of .*row 1 to be one of train, validation, test; found 'dev'",
    ),
    (
        "a.jsonl",
        '{"prompt": "a", "positive": "b", "split": ["test"]}',
        r"'split' of .*:1 to be one of .*; found \['test'\]",
    ),
    (
        "a.jsonl",
        '{"prompt": "a", "positive": "b"}\n{"prompt": "a", "positive": "b", "split": "test"}',
        r"column 'split' in .*a\.jsonl:1; found 'prompt', 'positive'",
    ),
]


@pytest.mark.parametrize(("name", "text", "message"), BROKEN)
def test_broken_files(folder, name, text, message):
    with pytest.raises(DataError, match=message):
        load_examples(folder.write(name, text))


def test_other_fields_are_ignored(folder):
    header = "prompt,positive,prompt_id,position,id,negative_2,source,,\n"
    path = folder.write("a.csv", header + "a,b,1,2,3,4,5,,\n")
    assert load_examples(path).examples == (Example("a", "b"),)


def test_other_fields_that_are_nearly_one_beside_it_are_ignored(write_rows):
    row = {"prompt": "a", "positive": "B", "negative": "A", "clusters": "x", "split": "train"}
    row |= {"options": ["A", "B"], "distribution": [0.25, 0.75]}
    names = ("native", "optional", "option", "prompter", "promptid", "cluster", "splits")
    plain, more = (
        load_examples(write_rows(f"{name}.jsonl", [row | dict.fromkeys(others, "other")]))
        for name, others in (("plain", ()), ("more", names))
    )
    assert more.examples == plain.examples
    rows = [{"prompt": "a", "positive": "b", "native": "c"}, ROWS[0] | {"native": "c"}]
    loaded = load_examples(write_rows("some.jsonl", rows))
    assert loaded.examples == (Example("a", "b"), EXPECTED[0])


def test_file_that_is_not_utf8(tmp_path):
    path = tmp_path / "latin.csv"
    path.write_bytes("prompt,positive\né,b\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"UTF-8 text in .*; found a byte .* at offset 16"):
        load_examples(path)


def test_absent_file(tmp_path):
    with pytest.raises(DataError, match=r"a readable file .*gone\.csv; found No such file"):
        load_examples(tmp_path / "gone.csv")
