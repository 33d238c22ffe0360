"""Analyses of any model: their tables are those of the package, the same each time, for anyone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import zoo
from exact.cases import data_of

from coldlens.agreement.agreement import kernel_agreement
from coldlens.cli import main
from coldlens.compare.compare import compare_directions
from coldlens.directions import ColdFD
from coldlens.equivalence.verify import verify_equivalences
from coldlens.examples.tokens import encode
from coldlens.figures import (
    MODEL_ANALYSES,
    DirectionCosines,
    Epsilon,
    KernelVsEntk,
    UnifiedPerspective,
)
from coldlens.losses import default_loss
from coldlens.references import finite_difference, jacobian_displacement, parameter_gradient


@pytest.fixture(scope="module")
def model():
    return zoo.bridge("llama")


@pytest.fixture(scope="module")
def double():
    return zoo.bridge("llama", dtype=torch.float64)


@pytest.fixture(scope="module")
def examples():
    return data_of("llama", "paired")


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.csv"))}


@pytest.mark.parametrize(
    "analysis", [DirectionCosines, KernelVsEntk, Epsilon], ids=lambda one: one.__name__
)
def test_twice_the_same(model, examples, analysis, tmp_path):
    for name in ("one", "other"):
        tables = analysis(tmp_path / name, quick=True).on(model, examples)
        assert tables.keys() == analysis.drawing.tables.keys()
    tables = bytes_of(tmp_path / "one")
    assert len(tables) >= 2
    assert tables == bytes_of(tmp_path / "other")
    (record,) = (tmp_path / "one").rglob("result.json")
    about = json.loads(record.read_text())
    assert about["settings"]["quick"]
    assert about["settings"]["n"] == analysis.QUICK["n"]
    assert about["data_hash"] == examples.hash()
    assert str(Path.cwd()) not in record.read_text()


def test_no_number_depends_on_the_order_of_a_set(tmp_path):
    for seed in ("1", "2"):
        command = ["analyses.kernel_vs_entk", "--quick", "--out", str(tmp_path / seed)]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-m", *command], env=environment, check=True)
    assert len(bytes_of(tmp_path / "1")) == 3
    assert bytes_of(tmp_path / "1") == bytes_of(tmp_path / "2")


def test_kernel_tables_are_those_of_kernel_agreement(model, examples, tmp_path):
    tables = KernelVsEntk(tmp_path, n=3).on(model, examples)
    found = kernel_agreement(model, examples.sample(3, 0))
    assert tables["ladder"].cosine.tolist() == pytest.approx(found.ladder.cosine.tolist())
    assert tables["pairs"].alignment.tolist() == pytest.approx(found.table.alignment.tolist())


def test_checks_are_those_of_verify_equivalences(model, examples, tmp_path):
    UnifiedPerspective(tmp_path, n=2).on(model, examples)
    found, written = verify_equivalences(model, examples, n=2), bytes_of(tmp_path)
    assert written["checks.csv"] == found.table.to_csv(index=False).encode()
    assert written["curves.csv"] == found.curves.to_csv(index=False).encode()


def test_cosines_are_those_of_compare_directions(model, examples, tmp_path):
    tables = DirectionCosines(tmp_path, n=2, draws=2).on(model, examples)
    for draw in range(2):
        report = compare_directions(model, examples.sample(2, draw), seed=draw)
        rows = tables["directions"].query("draw == @draw").set_index(["layer", "method"])
        for row in report.table.itertuples():
            name = "Random" if row.method.startswith("Random") else row.method
            expected = pytest.approx(row.cosine_to_ColdJVP, nan_ok=True)
            assert rows.cosine_to_ColdJVP[row.layer, name] == expected
        pairs = tables["cosines"].query("draw == @draw and layer == 1")
        pairs = pairs.set_index(["method", "other"]).cosine
        square = report.cosines(1)
        assert pairs["DiffMean", "ColdFD"] == pytest.approx(square.loc["DiffMean", "ColdFD"])
    assert set(tables["directions"].draw) == {0, 1}


def test_draws_differ_where_there_are_few_examples(model, examples, tmp_path):
    table = DirectionCosines(tmp_path, n=50, draws=3).on(model, examples)["directions"]
    norms = table.query("method == 'DiffMean' and layer == 0").norm
    assert norms.nunique() == 3


@pytest.mark.parametrize("scheme", ["forward", "central"])
def test_errors_are_those_of_literal_differences(double, examples, scheme, tmp_path):
    """In float64, one sequence at a time, on copies of the model; one prompt is read."""
    settings = {"n": 3, "prompts": 1, "largest": -2, "smallest": -3, "per_decade": 1}
    tables = Epsilon(tmp_path, **settings).on(double, examples)
    drawn = examples.sample(3, 0)
    encoded = encode(double, drawn)
    gradient = parameter_gradient(double, encoded, default_loss(drawn))
    prompt = min({one.prompt for one in encoded}, key=len)
    exact = [jacobian_displacement(double, prompt, layer, gradient) for layer in range(3)]
    errors = tables["errors"].set_index(["precision", "scheme", "epsilon", "layer"]).error
    for epsilon in (1e-2, 1e-3):
        found = finite_difference(double, prompt, gradient, epsilon, scheme)
        for layer, value in found.items():
            error = ((value - exact[layer]).norm() / exact[layer].norm()).item()
            assert errors["float64", scheme, epsilon, layer] == pytest.approx(error, rel=1e-6)
    by_precision = errors.xs((scheme, 1e-3), level=("scheme", "epsilon")).groupby("precision").max()
    assert by_precision["bfloat16"] > 2 * by_precision["float64"]


def test_choices_are_those_of_cold_fd(model, examples, tmp_path):
    choices = Epsilon(tmp_path, quick=True).on(model, examples)["choices"]
    fitted = ColdFD().fit(model, examples.sample(3, 0))
    own = choices.query("precision == 'float32' and scheme == 'forward' and rule == 'auto'")
    assert own.epsilon.tolist() == pytest.approx([fitted.step] * 3, rel=1e-6)
    paper = choices.query("rule == 'paper'")
    assert (paper.epsilon == 1e-6).all()
    assert (paper.query("precision == 'float32'").error > 1e-3).all()


def test_one_command_measures_and_draws_a_model_of_ones_own(tmp_path, capsys):
    folder, rows = tmp_path / "tiny", tmp_path / "mine.jsonl"
    zoo.hf_model("llama").save_pretrained(folder)
    zoo.tokenizer().save_pretrained(folder)
    words = [("cat", "A", "B"), ("dog", "B", "A"), ("red", "A", "B"), ("tree", "B", "A")]
    lines = [
        {"prompt": f"question : {word} ? answer : (", "positive": yes, "negative": no}
        for word, yes, no in words
    ]
    rows.write_text("\n".join(map(json.dumps, lines)))
    out = tmp_path / "out"
    asked = ["figures", "--model", str(folder), "--examples", str(rows), "--out", str(out)]
    assert main([*asked, "--quick"]) == 0
    names = [analysis.drawing.name for analysis in MODEL_ANALYSES]
    expected = {f"{name}.{suffix}" for name in names for suffix in ("pdf", "png")}
    assert {path.name for path in (out / "tiny").iterdir()} == expected
    assert {path.name for path in (out / "tables" / "tiny").iterdir()} == set(names)
    page = (out / "README.md").read_text()
    assert page.count("![") == len(names)
    pictures = {path.name: path.read_bytes() for path in (out / "tiny").iterdir()}
    tables = bytes_of(out)

    assert main(["figures", "--out", str(out)]) == 0
    assert {path.name: path.read_bytes() for path in (out / "tiny").iterdir()} == pictures
    assert bytes_of(out) == tables
    assert (out / "README.md").read_text() == page
    capsys.readouterr()


def test_data_without_negatives_can_be_read_and_drawn(model, tmp_path):
    positive = data_of("llama", "positive")
    tables = DirectionCosines(tmp_path, quick=True).on(model, positive)
    sentence = DirectionCosines.drawing.reading(tables)
    assert "no contrastive directions" in sentence
    assert "nan" not in sentence
    DirectionCosines.drawing.draw(tables)


def test_one_example_is_refused_before_measuring(tmp_path, capsys):
    rows = tmp_path / "one.jsonl"
    rows.write_text(json.dumps({"prompt": "a", "positive": " b"}))
    out = tmp_path / "out"
    assert main(["figures", "--examples", str(rows), "--out", str(out)]) == 2
    assert "at least two examples" in capsys.readouterr().err
    assert not out.exists()


def test_a_model_without_examples_is_refused(tmp_path, capsys):
    assert main(["figures", "--model", "gpt2", "--out", str(tmp_path / "out")]) == 2
    assert "--examples beside --model" in capsys.readouterr().err
