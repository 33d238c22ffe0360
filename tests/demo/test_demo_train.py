"""Training is repeatable, and writing is all or nothing."""

import json
from dataclasses import replace

import pytest
import torch
from transformers import LlamaForCausalLM

from coldlens.demo.lexicon import BEHAVIOURS
from coldlens.demo.recipe import GROWING, SORTING, Recipe
from coldlens.demo.saving import save
from coldlens.demo.train import main, train
from coldlens.demo.vocabulary import build_tokenizer, vocabulary

PHASES = (replace(GROWING, steps=10), replace(SORTING, steps=10))
SHORT = Recipe(phases=PHASES, tokens=256, width=32, hidden=64, report_every=10)


def test_two_short_runs_give_identical_weights():
    seen = []
    first = train(SHORT, lambda step, letters, model: seen.append((step, letters, model.training)))
    second = train(SHORT, lambda *_: None)
    other = train(replace(SHORT, seed=1), lambda *_: None)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)
    assert [(step, training) for step, _, training in seen] == [(10, False), (20, False)]
    assert not first.training


def test_training_keeps_the_random_state():
    before = torch.random.get_rng_state()
    train(SHORT, lambda *_: None)
    assert torch.equal(before, torch.random.get_rng_state())


def test_command_line_writes_a_folder_that_loads(tmp_path):
    out = tmp_path / "weights"
    main(["--out", str(out)], replace(SHORT, report_every=1000))
    model = LlamaForCausalLM.from_pretrained(out)
    assert model.config.vocab_size == len(vocabulary())
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    record = json.loads((out / "training.json").read_text())
    assert record["steps_done"] == 20
    assert record["recipe"]["phases"][1]["learning_rate"] == SORTING.learning_rate
    assert [path.name for path in tmp_path.iterdir()] == ["weights"]


def test_saving_replaces_a_folder_and_leaves_nothing_else(tmp_path):
    model, tokenizer = SHORT.build_model(len(vocabulary())), build_tokenizer()
    out = tmp_path / "deep" / "weights"
    save(model, tokenizer, {"run": 1}, out)
    (out / "stale.txt").write_text("old")
    save(model, tokenizer, {"run": 2}, out)
    assert json.loads((out / "training.json").read_text()) == {"run": 2}
    assert not (out / "stale.txt").exists()
    assert [path.name for path in out.parent.iterdir()] == ["weights"]


def test_an_interrupted_save_keeps_the_old_folder(tmp_path, monkeypatch):
    model, tokenizer = SHORT.build_model(len(vocabulary())), build_tokenizer()
    out = tmp_path / "weights"
    save(model, tokenizer, {"run": 1}, out)

    def fail(*_args, **_options):
        raise OSError("disk full")

    monkeypatch.setattr(tokenizer, "save_pretrained", fail)
    with pytest.raises(OSError, match="disk full"):
        save(model, tokenizer, {"run": 2}, out)
    assert json.loads((out / "training.json").read_text()) == {"run": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["weights"]


def test_schedules_rise_as_described():
    phase = replace(GROWING, steps=1000)
    rates = [phase.rate(step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01, abs=1e-3)
    assert max(rates) > 0.97
    assert rates[-1] < 1e-4
    assert phase.asked(0) == BEHAVIOURS[:1]
    sizes = [len(phase.asked(step)) for step in range(1000)]
    assert sizes == sorted(sizes)
    assert sizes[220] == len(BEHAVIOURS)
    mixed = [phase.mixed(step) for step in range(1000)]
    assert mixed == sorted(mixed)
    assert mixed[100] == pytest.approx(0)
    assert mixed[260] == mixed[999] == phase.mixing


def test_the_second_phase_asks_about_everything_from_its_start():
    assert SORTING.asked(0) == BEHAVIOURS
    assert SORTING.mixed(0) == SORTING.mixing
