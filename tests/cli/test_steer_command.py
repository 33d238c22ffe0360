"""`coldlens steer` as a user types it."""

import json

import pytest
import torch
import zoo

import coldlens as cl
from coldlens.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny-llama")
    zoo.hf_model("llama").save_pretrained(path)
    zoo.tokenizer().save_pretrained(path)
    return path


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [
        {"prompt": "question : cat ? answer :", "positive": " yes", "negative": " no"},
        {"prompt": "question : dog ? answer :", "positive": " no", "negative": " yes"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_answers_stand_below_each_other(folder, rows, capsys):
    words = ["steer", "--model", str(folder), "--examples", str(rows), "--method", "DiffMean"]
    words += ["--prompt", "red blue", "--layer", "1", "--eta", "0", "30", "--max-new-tokens", "4"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "«<s>» «red» «blue»" in printed
    lines = [line.strip() for line in printed.splitlines()]
    found = {line.split(":")[0]: line.split(":", 1)[1] for line in lines if ":" in line}
    assert found["unsteered"] == found["eta     0"] != found["eta    30"]
    model = cl.load_model(folder)
    steering = cl.DiffMean().fit(model, cl.load_examples(rows), 1)
    with steering.apply(model, layer=1, eta=30.0):
        made = model.generate(
            torch.tensor([[1, *model.tokenizer("red blue", add_special_tokens=False).input_ids]]),
            max_new_tokens=4,
            do_sample=False,
            return_type="tokens",
            verbose=False,
        )
    text = model.tokenizer.decode(made[0, 3:].tolist(), skip_special_tokens=True)
    assert found["eta    30"].strip() == text.strip()


def test_the_examples_prompts_by_default_and_errors(folder, rows, capsys):
    words = ["steer", "--model", str(folder), "--examples", str(rows)]
    assert main([*words, "--method", "DiffMean", "--max-new-tokens", "2"]) == 0
    printed = capsys.readouterr().out
    assert "«cat»" in printed
    assert "«dog»" in printed
    assert main([*words, "--method", "Nonsense"]) == 2
    assert "Expected a method among" in capsys.readouterr().err
