"""`coldlens compare` as a user types it."""

import errno

import pytest

import coldlens as cl
from coldlens.cli import main
from coldlens.cli.inputs import Source
from coldlens.cli.main import COMMANDS
from coldlens.compare.report import DirectionReport
from coldlens.files import check_writable


def test_compare_prints_a_table_and_saves_report_and_figure(folder, rows, tmp_path, capsys):
    out = tmp_path / "out"
    assert (
        main(["compare", "--model", str(folder), "--examples", str(rows), "--out", str(out)]) == 0
    )
    printed = capsys.readouterr().out
    assert "ColdKernel(all)" in printed
    assert "layer 2" in printed
    report = DirectionReport.load(out)
    assert report.about["examples_count"] == 2
    assert (out / "directions.png").stat().st_size > 10_000
    value = report.summary().loc["DiffMean", 1]
    assert f"{value:+.3f}" in printed


def test_arguments_reach_the_comparison(folder, rows, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["compare", "--model", str(folder), "--examples", str(rows), "--out", str(out)]
    words += ["--methods", "DiffMean", "ColdJVP", "--layers", "1", "--loss", "cross-entropy"]
    assert main([*words, "--n", "1"]) == 0
    report = DirectionReport.load(out)
    assert (report.methods, report.layers) == (["DiffMean", "ColdJVP"], [1])
    assert report.about["loss"].startswith("CrossEntropy")
    assert report.about["examples_count"] == 1


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (["--model", "./nowhere"], "a folder in Hugging Face layout with config.json"),
        (["--examples", "demo/kindness"], "found 'demo/kindness'"),
        (["--methods", "CAA"], "found 'CAA'"),
        (["--layers", "9"], "found layer 9"),
        (["--prompts", "nowhere.txt"], "a text file with one prompt a line"),
    ],
)
def test_bad_input_is_one_line_and_status_2(folder, rows, tmp_path, capsys, change, text):
    out = tmp_path / "out"
    words = ["compare", "--model", str(folder), "--examples", str(rows), "--out", str(out)]
    assert main(words + change) == 2
    assert text in capsys.readouterr().err
    assert not out.exists()


def test_an_occupied_folder_is_refused_before_any_work(folder, rows, tmp_path, capsys):
    words = ["compare", "--model", "./nowhere", "--examples", str(rows), "--out", str(tmp_path)]
    assert main(words) == 2
    assert "holds something else" in capsys.readouterr().err


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"sweep"}))
def test_a_place_that_cannot_be_written_is_refused_before_any_work(tmp_path, capsys, command):
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "out.html"
    assert main([command, "--examples", "./nowhere", "--out", str(out)]) == 2
    assert "which cannot be written (Not a directory)" in capsys.readouterr().err


def test_a_file_system_that_refuses_is_found_out_by_trying(tmp_path, monkeypatch):
    def refuse(*_args, **_settings):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    check_writable(tmp_path / "new" / "folder")
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(cl.DataError, match=r"folder, which cannot be written \(Operation not perm"):
        check_writable(tmp_path / "new" / "folder")


def test_an_error_of_the_system_is_one_line_and_status_2(tmp_path, capsys, monkeypatch):
    def fail(*_args, **_settings):
        raise OSError(errno.ENOSPC, "No space left on device", "table.csv")

    monkeypatch.setattr("coldlens.cli.compare.check_replaceable", fail)
    assert main(["compare", "--out", str(tmp_path)]) == 2
    printed = capsys.readouterr().err
    assert printed == "coldlens: OSError: [Errno 28] No space left on device: 'table.csv'\n"


@pytest.mark.parametrize(
    "command", [name for name, command in COMMANDS.items() if issubclass(command, Source)]
)
def test_help_names_the_arguments_that_all_commands_share(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    found = capsys.readouterr().out
    for name in ("--model", "--examples", "--out", "--data", "--prompt-format"):
        assert name in found


def test_version_is_the_packages():
    from importlib.metadata import version

    assert cl.__version__ == version("coldlens")


def test_an_interruption_is_one_line_and_status_130(folder, rows, tmp_path, capsys, monkeypatch):
    def interrupted(*_args, **_settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("coldlens.cli.compare.compare_directions", interrupted)
    out = tmp_path / "out"
    words = ["compare", "--model", str(folder), "--examples", str(rows), "--out", str(out)]
    assert main(words) == 130
    assert "coldlens: interrupted" in capsys.readouterr().err
    assert not out.exists()
