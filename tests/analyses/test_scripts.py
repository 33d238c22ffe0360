"""Every script explains itself, runs quickly, and knows its figure."""

import importlib
import sys

import pytest

from analyses.script import script
from coldlens.figures import Analysis
from coldlens.figures.drawings import DRAWINGS


def analysis_of(name):
    module = importlib.import_module(f"analyses.{name}")
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Analysis) and hasattr(value, "drawing")
    ]
    assert len(found) == 1
    return found[0]


def called(monkeypatch, name, *arguments):
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    script(analysis_of(name))


@pytest.mark.parametrize("name", DRAWINGS)
def test_every_figure_has_a_script_that_explains_itself(monkeypatch, capsys, name):
    analysis = analysis_of(name)
    assert analysis.drawing is DRAWINGS[name]
    with pytest.raises(SystemExit) as ended:
        called(monkeypatch, name, "--help")
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "--quick" in shown
    assert analysis.__doc__.splitlines()[0][:40] in shown


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWINGS)
def test_quick_runs_make_tables_that_can_be_drawn_and_read(monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)  # sweeps go to out/ there
    called(monkeypatch, name, "--quick", "--out", tmp_path)
    ((model, folder),) = [
        (path.name, path / name) for path in tmp_path.iterdir() if (path / name).is_dir()
    ]
    assert model == ("random" if name in ("cost", "kernel_cost", "benchmark") else "demo")
    tables = analysis_of(name).drawing.kind.tables
    assert {path.stem for path in folder.glob("*.csv")} == set(tables)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    called(monkeypatch, name, "--quick", "--out", tmp_path)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
