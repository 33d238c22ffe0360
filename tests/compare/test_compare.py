"""compare_directions against each method alone, and the report as users handle it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import zoo

import coldlens as cl
from coldlens.compare.choose import DEFAULTS
from coldlens.compare.readout import read_out
from coldlens.examples.tokens import encode_prompts

PAIRED = [
    cl.Example("question : cat ? answer : (", "A", "B"),
    cl.Example("question : dog house ? answer : (", "B", "A"),
    cl.Example("the user asks you to hide", " no never", " yes maybe please"),
]


@pytest.fixture(scope="module")
def model():
    return zoo.bridge("llama", std=0.15)


@pytest.fixture(scope="module")
def report(model):
    return cl.compare_directions(model, PAIRED, seed=3)


def test_every_direction_equals_the_method_alone(model, report):
    for method in DEFAULTS:
        if isinstance(method, cl.Random):
            method = cl.Random(seed=3)
        alone = method.fit(model, PAIRED)
        label = method.label if not isinstance(method, cl.Random) else "Random(seed=3)"
        for layer in report.layers:
            torch.testing.assert_close(report.directions[label][layer], alone.vector(layer))


def test_table_is_long_and_agrees_with_the_vectors(report):
    assert len(report.table) == len(report.methods) * len(report.layers)
    row = report.table.set_index(["method", "layer"]).loc[("DiffMean", 1)]
    vector, exact = (report.directions[name][1] for name in ("DiffMean", "ColdJVP"))
    assert row.norm == pytest.approx(float(vector.norm()), rel=1e-6)
    expected = float(vector @ exact / vector.norm() / exact.norm())
    assert row.cosine_to_ColdJVP == pytest.approx(expected, rel=1e-5)
    assert row.cosine_to_DiffMean == pytest.approx(1)


def test_relative_norm_is_over_the_residual_stream_at_the_last_prompt_token(model, report):
    norms = []
    for example in PAIRED:
        tokens = torch.tensor(
            [[1, *model.tokenizer(example.prompt, add_special_tokens=False).input_ids]]
        )
        _, cache = model.run_with_cache(tokens)
        norms.append(cache["blocks.2.hook_resid_post"][0, -1].norm().item())
    row = report.table.set_index(["method", "layer"]).loc[("ColdJVP", 2)]
    assert row.relative_norm == pytest.approx(row.norm / np.mean(norms), rel=1e-5)


def test_prompt_cosine_is_one_for_the_exact_and_below_it_for_its_mean(model, report):
    table = report.table.set_index("method")
    assert np.allclose(table.loc["ColdJVP"].prompt_cosine_to_ColdJVP, 1)
    exact = cl.ColdJVP().fit(model, PAIRED).readings()[0]
    mean = report.directions["DiffMean"][0]
    cosines = torch.cosine_similarity(exact, mean, dim=-1)
    assert table.loc["DiffMean"].prompt_cosine_to_ColdJVP.iloc[0] == pytest.approx(
        cosines.mean().item(), rel=1e-4
    )


def test_the_reference_is_found_whatever_its_settings(model):
    loss = cl.CrossEntropy()
    methods = [cl.ColdJVP(loss=loss), cl.ColdKernel(loss=loss)]
    report = cl.compare_directions(model, PAIRED, methods=methods)
    assert report.table.cosine_to_ColdJVP.notna().all()
    assert (
        "CrossEntropy" in report.about["methods"]["ColdKernel(loss=CrossEntropy(reduction='mean'))"]
    )


def test_layers_may_count_from_the_end_or_be_numpy_integers(model, report):
    assert report.cosines(-1).equals(report.cosines(2))
    row = report.table.layer.iloc[1]
    short = cl.compare_directions(model, PAIRED, methods=["DiffMean"], layers=row)
    assert torch.equal(short.directions["DiffMean"][1], report.directions["DiffMean"][1])


def test_token_ids_are_kept(model, report):
    steering = cl.DiffMean().fit(model, PAIRED)
    assert [tuple(ids) for ids in report.token_ids["prompts"]] == list(steering.prompts)
    assert report.token_ids["examples"][0][1] == (zoo.WORDS.index("A"),)


def test_top_tokens_do_not_depend_on_length(model, report):
    vector = report.directions["ColdKernel"][1]
    torch.testing.assert_close(read_out(model, vector), read_out(model, 1000 * vector))


def test_a_zero_direction_has_no_cosine_and_is_noted(model):
    letters = PAIRED[:2]
    report = cl.compare_directions(
        model, letters, methods=[cl.ColdKernel(positions="answer"), "ColdJVP"]
    )
    row = report.table.iloc[0]
    assert row.norm == 0
    assert np.isnan(row.cosine_to_ColdJVP)
    assert np.isnan(report.cosines(0).loc["ColdKernel(answer)", "ColdJVP"])
    assert report.about["notes"][0].startswith("ColdKernel(answer) is zero at layers [0, 1, 2]")


def test_positive_only_data_skip_what_needs_pairs_and_say_so(model):
    examples = [cl.Example("the user asks", " no never"), cl.Example("a dog", " stay please")]
    report = cl.compare_directions(model, examples)
    assert "DiffMean" not in report.methods
    assert "2 of 2 have none" in report.about["skipped"]["DiffMean"]
    assert report.about["loss"] == "CrossEntropy(reduction='mean')"
    with pytest.raises(
        cl.ExampleError, match="a negative completion in every example for DiffMean"
    ):
        cl.compare_directions(model, examples, methods=["DiffMean"])


def test_given_methods_loss_layers_and_prompts_are_used(model):
    loss = cl.CrossEntropy()
    report = cl.compare_directions(
        model, PAIRED, methods=["ColdFD"], layers=[1], loss=loss, prompts=["the cat", "a dog stay"]
    )
    alone = cl.ColdFD(loss=loss).fit(model, PAIRED, [1])
    expected = alone.vector(1, prompts=["the cat", "a dog stay"])
    torch.testing.assert_close(report.directions["ColdFD"][1], expected)
    assert report.table.cosine_to_ColdJVP.isna().all()
    assert report.about["prompts"] == 2


def test_save_and_load_give_the_same_report(report, tmp_path):
    folder = report.save(tmp_path / "deep" / "report")
    again = cl.DirectionReport.load(folder)
    pd.testing.assert_frame_equal(again.table, report.table)
    pd.testing.assert_frame_equal(again.tokens, report.tokens, check_dtype=False)
    assert again.about == report.about
    for method, vectors in report.directions.items():
        for layer, vector in vectors.items():
            assert torch.equal(again.directions[method][layer], vector)
    again.save(folder)
    assert {path.name for path in folder.parent.iterdir()} == {"report"}


def test_saving_never_overwrites_a_strangers_folder(report, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(cl.DataError, match="holds something else"):
        report.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_notes_beside_a_report_are_not_deleted(report, tmp_path):
    folder = report.save(tmp_path / "report")
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(cl.DataError, match="holds something else"):
        report.save(folder)
    assert (folder / "notes.txt").read_text() == "mine"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "result.json").write_text('{"mine": 1}')
    with pytest.raises(cl.DataError, match="holds something else"):
        report.save(tmp_path / "other")


def test_a_link_is_followed_and_a_file_is_no_folder(report, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    report.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "result.json").is_file()
    (tmp_path / "file").touch()
    with pytest.raises(cl.DataError, match="a place that can be written"):
        report.save(tmp_path / "file" / "sub")


def test_an_interrupted_swap_brings_the_old_report_back(report, tmp_path, monkeypatch):
    folder = report.save(tmp_path / "report")
    rename, calls = Path.rename, []

    def broken(self, target):
        calls.append(self)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", broken)
    with pytest.raises(KeyboardInterrupt):
        report.save(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
    cl.DirectionReport.load(folder)


def test_a_string_is_not_a_list_of_prompts():
    with pytest.raises(cl.ExampleError, match="a list of at least one prompt; found 'what if'"):
        encode_prompts(zoo.bridge("llama"), "what if", cl.TokenPolicy())


def test_repr_is_one_line(report):
    assert len(repr(report)) < 200


def test_a_failed_save_leaves_the_old_report(report, tmp_path, monkeypatch):
    folder = report.save(tmp_path / "report")
    before = (folder / "table.csv").read_bytes()
    monkeypatch.setattr("coldlens.compare.report.save_file", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report.save(folder)
    assert (folder / "table.csv").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


@pytest.mark.parametrize("name", ["result.json", "table.csv", "directions.safetensors"])
def test_a_damaged_report_is_an_error(report, tmp_path, name):
    folder = report.save(tmp_path / "report")
    (folder / name).write_bytes(b"\x00")
    with pytest.raises(cl.DataError, match="a folder w"):
        cl.DirectionReport.load(folder)
    with pytest.raises(cl.DataError, match="FileNotFoundError"):
        cl.DirectionReport.load(tmp_path / "nothing")


def test_top_tokens_read_the_direction_through_the_unembedding(model, report):
    shown = report.top_tokens(1, "ColdJVP", 3)
    vector = report.directions["ColdJVP"][1]
    hf = model.original_model
    normed = vector / vector.square().mean().sqrt() * hf.model.norm.weight
    logits = normed @ hf.lm_head.weight.T
    torch.testing.assert_close(read_out(model, vector), logits, rtol=1e-3, atol=1e-4)
    best = logits.topk(3)
    assert shown.promoted.tolist() == [model.tokenizer.decode([i]) for i in best.indices.tolist()]
    assert shown.suppressed_score.iloc[0] == pytest.approx(logits.min().item(), abs=1e-3)


def test_errors_of_the_report_say_what_there_is(report):
    with pytest.raises(cl.ArgumentError, match=r"layers between 0 and 2 .*; found layer 7"):
        report.cosines(7)
    with pytest.raises(cl.ArgumentError, match="a method among"):
        report.top_tokens(0, "CAA")
    with pytest.raises(cl.ArgumentError, match="k between 1 and 20; found k = 0"):
        report.top_tokens(0, "DiffMean", 0)


@pytest.mark.parametrize(
    ("methods", "text"),
    [
        (["CAA"], r"methods among DiffMean, .*; found 'CAA'"),
        ([], "at least one method; found none"),
        (["ColdFD", cl.ColdFD()], "each method once; found ColdFD twice"),
    ],
)
def test_bad_methods_are_errors(model, methods, text):
    with pytest.raises(cl.ArgumentError, match=text):
        cl.compare_directions(model, PAIRED, methods=methods)


def test_html_shows_every_method_and_escapes_names(model):
    examples = cl.ExampleSet(tuple(PAIRED), name="<script>")
    text = cl.compare_directions(model, examples, methods=["DiffMean", "ColdJVP"])._repr_html_()
    assert "<script>" not in text
    assert "DiffMean" in text


def test_the_seed_moves_only_the_random_control(model, report):
    other = cl.compare_directions(model, PAIRED, seed=4)
    assert torch.equal(other.directions["ColdFD"][0], report.directions["ColdFD"][0])
    first, second = report.directions["Random(seed=3)"][0], other.directions["Random(seed=4)"][0]
    assert not torch.equal(first, second)
    torch.testing.assert_close(first.norm(), second.norm())
