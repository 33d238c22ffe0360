"""`coldlens steer` as a user types it."""

import pandas as pd
import torch

import coldlens as cl
from coldlens.cli import main


def test_answers_stand_below_each_other(folder, rows, capsys, tmp_path):
    out = tmp_path / "out"
    words = ["steer", "--model", str(folder), "--examples", str(rows), "--method", "DiffMean"]
    words += ["--prompt", "red blue", "--layer", "1", "--eta", "0", "300", "--max-new-tokens", "4"]
    words += ["--out", str(out)]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "«<s>» «red» «blue»" in printed
    lines = [line.strip() for line in printed.splitlines()]
    found = {line.split(":")[0]: line.split(":", 1)[1] for line in lines if ":" in line}
    assert found["unsteered"] == found["eta     0"] != found["eta   300"]
    model = cl.load_model(folder)
    steering = cl.DiffMean().fit(model, cl.load_examples(rows), 1)
    with steering.apply(model, layer=1, eta=300.0):
        made = model.generate(
            torch.tensor([[1, *model.tokenizer("red blue", add_special_tokens=False).input_ids]]),
            max_new_tokens=4,
            do_sample=False,
            return_type="tokens",
            verbose=False,
        )
    text = model.tokenizer.decode(made[0, 3:].tolist(), skip_special_tokens=True)
    assert found["eta   300"].strip() == text.strip()
    saved = pd.read_csv(out / "answers.csv").set_index("eta").answer
    assert saved[300.0] == text
    loaded = cl.Steering.load(out / "steering.safetensors", model)
    assert torch.equal(loaded.vector(1), steering.vector(1))
    assert main(words) == 0  # an earlier result is replaced


def test_an_occupied_folder_is_refused_before_any_work(rows, tmp_path, capsys):
    words = ["steer", "--model", "./nowhere", "--examples", str(rows), "--out", str(tmp_path)]
    assert main(words) == 2
    assert "holds something else" in capsys.readouterr().err


def test_the_examples_prompts_by_default_and_errors(folder, rows, capsys, tmp_path):
    words = ["steer", "--model", str(folder), "--examples", str(rows)]
    words += ["--out", str(tmp_path / "out")]
    assert main([*words, "--method", "DiffMean", "--max-new-tokens", "2"]) == 0
    printed = capsys.readouterr().out
    assert "«cat»" in printed
    assert "«dog»" in printed
    for change in (["--eta", "1", "nan"], ["--max-new-tokens", "0"]):
        assert main([*words, *change]) == 2
        assert f"found {change[0][2:].replace('-', '_')} = {change[-1]}" in capsys.readouterr().err
    assert main([*words, "--max-new-tokens", "10000"]) == 2
    assert "tokens and max_new_tokens = 10000" in capsys.readouterr().err
    assert main([*words, "--method", "Nonsense"]) == 2
    assert "Expected a method among" in capsys.readouterr().err
