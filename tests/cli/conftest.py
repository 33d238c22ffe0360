"""A tiny model in a folder and a file of examples, as a user has them."""

import json
from pathlib import Path

import pytest
import zoo


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model."""
    path = tmp_path_factory.mktemp("models") / "tiny-llama"
    zoo.hf_model("llama").save_pretrained(path)
    zoo.tokenizer().save_pretrained(path)
    return path


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Two examples to fit on."""
    return written(tmp_path / "rows.jsonl", [("cat", "A", "B"), ("dog", "B", "A")])


@pytest.fixture
def divided(tmp_path: Path) -> Path:
    """Four examples to fit on, and three questions to test."""
    train = [("cat", "A", "B"), ("dog", "B", "A"), ("red", "A", "B"), ("blue", "B", "A")]
    test = [("tree", "A", "B"), ("house", "B", "A"), ("river", "A", "B")]
    written(tmp_path / "divided.jsonl", train, "train")
    return written(tmp_path / "divided.jsonl", test, "test")


def written(path: Path, words: list[tuple[str, str, str]], split: str | None = None) -> Path:
    """Appends questions about words to a file."""
    with path.open("a") as file:
        for word, positive, negative in words:
            row = {"prompt": f"question : {word} ? answer : (", "positive": positive}
            row |= {"negative": negative} | ({"split": split} if split else {})
            file.write(json.dumps(row) + "\n")
    return path
