"""Small data sets written into a folder, and the real ones where they are."""

import csv
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

OPTIONS = ("Good, on the whole", "Bad")
BESIDE_THE_REPOSITORY = Path(__file__).parents[3] / "shared" / "data"
REAL_FOLDER = Path(os.environ.get("COLDLENS_DATA") or BESIDE_THE_REPOSITORY)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    monkeypatch.delenv("COLDLENS_DATA", raising=False)


@pytest.fixture
def real():
    if not (REAL_FOLDER / "caa").is_dir():
        pytest.skip(f"no data sets in {REAL_FOLDER}: set COLDLENS_DATA to a folder with caa/")
    return REAL_FOLDER


@dataclass(frozen=True)
class Folder:
    """A folder that data sets are written into."""

    path: Path

    @staticmethod
    def choice_row(question, first, second, matching="A"):
        other = "B" if matching == "A" else "A"
        return {
            "question": f"{question}\n\nChoices:\n (A) {first}\n (B) {second}",
            "answer_matching_behavior": f"({matching})",
            "answer_not_matching_behavior": f"({other})",
        }

    def write(self, name, text):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
        return path

    def write_csv(self, name, rows):
        text = io.StringIO()
        csv.writer(text).writerows(rows)
        return self.write(name, text.getvalue())

    def write_caa(self, fit, test, behaviour="refusal"):
        self.write(f"caa/generate/{behaviour}/generate_dataset.json", json.dumps(fit))
        self.write(f"caa/test/{behaviour}/test_dataset_ab.json", json.dumps(test))

    def write_bipo(self, fit, test, behaviour="hallucination"):
        header = ["question", "matching", "not_matching"]
        self.write_csv(f"bipo/{behaviour}/train.csv", [header, *fit])
        self.write_csv(f"bipo/{behaviour}/test.csv", [header, *test])

    def write_opinions(self, polls, wave="wave_1", attribute="PARTY", options=None):
        """Writes polls {key: (question, {group: {answer: people}})} and the options of each."""
        folder = f"opinions_qa/human_resp/{wave}"
        fields = {
            key: {"question_text": question, "MC_options": ["cut", "at", "commas"], **people}
            for key, (question, people) in polls.items()
        }
        self.write(f"{folder}/{attribute}_data.json", json.dumps(fields))
        options = options or {}
        rows = [[key, repr([*options.get(key, OPTIONS), "Refused"])] for key in polls]
        self.write_csv(f"{folder}/info.csv", [["key", "references"], *rows])

    def write_axbench(self, rows, concepts=("video and sound", "dates")):
        """Writes rows (prompt, answer, number of the concept)."""
        lines = [
            json.dumps({"concept_id": number, "concept": concept})
            for number, concept in enumerate(concepts)
        ]
        self.write("axbench/concept10/metadata.jsonl", "\n".join(lines))
        frame = pd.DataFrame(rows, columns=["input", "output", "concept_id"])
        frame.to_parquet(self.path / "axbench/concept10/train_data.parquet")


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


@pytest.fixture
def small(folder):
    """The folder with ten questions to fit on and two to test on, of either data set."""
    letters = ["A", "B"]
    folder.write_caa(
        [folder.choice_row(f"Fit {i}?", "yes", "no", letters[i % 2]) for i in range(10)],
        [folder.choice_row(f"Test {i}?", "yes", "no", letters[i % 2]) for i in range(2)],
    )
    folder.write_bipo(
        [[f"Fit {i}?\n", f"Yes, {i}.", f"No, {i}."] for i in range(10)],
        [[f"Test {i}?", "Yes.", "No."] for i in range(2)],
    )
    return folder
