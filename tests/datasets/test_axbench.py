"""Concepts of AxBench: what is read, the splits, and what each refusal says."""

import pandas as pd
import pytest

from coldlens.datasets import load_examples
from coldlens.errors import DataError
from coldlens.examples.example import Example, TokenPolicy

SPLITS = ("train", "validation", "test")
ROWS = [
    *((f"Do {i}", f"Video {i}", 0) for i in range(20)),
    *((f" Do  {i}", f"Date {i}", 1) for i in range(10, 30)),
    *((f"Do {i}", f"Neutral {i}", -1) for i in range(40)),
]


@pytest.fixture
def written(folder):
    folder.write_axbench(ROWS)
    return folder.path


def test_positive_only_examples(written):
    loaded = load_examples("axbench/0", folder=written)
    assert loaded.policy == TokenPolicy()
    for example in loaded:
        number = example.prompt.removeprefix("Question: Do ").removesuffix("\n\nAnswer:")
        assert example == Example(example.prompt, f" Video {number}")
    chat = load_examples("axbench/0", prompt_format="chat", folder=written)
    assert chat.policy == TokenPolicy(chat_template=True)
    assert chat[0].positive.startswith("Video")


def test_a_concept_by_number_and_by_words(written):
    by_number = load_examples("axbench/0", "test", folder=written)
    assert load_examples("axbench/video-and-sound", "test", folder=written).examples == (
        by_number.examples
    )
    assert "'video and sound' of axbench/concept10/train_data.parquet (sha2" in by_number.source


def test_no_prompt_is_in_two_splits_of_any_concept(written):
    split_of = {}
    for split in SPLITS:
        for number in range(2):
            for example in load_examples(f"axbench/{number}", split, folder=written):
                words = " ".join(example.prompt.split())
                assert split_of.setdefault(words, split) == split
    assert len(split_of) == 30


def test_a_prompt_is_taken_once(folder):
    folder.write_axbench([*ROWS, ("Do  3", "Again", 0)])
    splits = [load_examples("axbench/0", split, folder=folder.path) for split in SPLITS]
    assert sum(map(len, splits)) == 20
    assert not any("Again" in example.positive for split in splits for example in split)


def test_unknown_concept(written):
    with pytest.raises(
        DataError,
        match=r"one of the concepts of axbench: 'axbench/0', .*; found 'axbench/video-and-sounds'. "
        "Perhaps you mean 'axbench/video-and-sound'",
    ):
        load_examples("axbench/video-and-sounds", folder=written)


def test_absent_files(tmp_path):
    with pytest.raises(DataError, match=r"metadata\.jsonl; found no such file. .* holds axbench/"):
        load_examples("axbench/0", folder=tmp_path)


def test_file_that_is_no_parquet(written):
    path = written / "axbench/concept10/train_data.parquet"
    path.write_text("input,output\n")
    with pytest.raises(DataError, match=r"a Parquet file .*train_data\.parquet; found .*Parquet"):
        load_examples("axbench/0", folder=written)


def test_empty_and_blank_rows(folder):
    folder.write_axbench([("Do it", None, 0)] * 5)
    with pytest.raises(DataError, match=r"text in field 'output' of .*parquet, row 1; found"):
        load_examples("axbench/0", "train", folder=folder.path)
    empty = pd.DataFrame({"input": [], "output": [], "concept_id": []})
    empty.to_parquet(folder.path / "axbench/concept10/train_data.parquet")
    with pytest.raises(DataError, match=r"at least one row in .*parquet; found no rows"):
        load_examples("axbench/0", folder=folder.path)
