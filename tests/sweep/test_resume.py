"""An interrupted sweep goes on, and ends with the table of one that was not interrupted."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from sweep.conftest import SPLITS, run, splits_of

from coldlens.errors import DataError
from coldlens.sweep import SweepResult

pytestmark = pytest.mark.slow

SCRIPT = """
import sys
from sweep.conftest import run
run(sys.argv[1], folder=sys.argv[2])
"""


def cells(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("cells/[!.]*.parquet")}


def same(left, right):
    return left.table.to_csv() == right.table.to_csv()


def killed(model, folder, count):
    """Starts the sweep in a process of its own and kills it once it has written more files."""
    tests = str(Path(__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": tests}
    with (folder.parent / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(model), str(folder)], env=environment, stderr=log
        )
        end = time.monotonic() + 200
        while process.poll() is None and time.monotonic() < end:
            if (folder / "sweep.json").exists() and len(cells(folder)) >= count:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.002)
        code = process.wait(10)
    assert code == -signal.SIGKILL, (folder.parent / "log").read_text()[-2000:]


def test_killed_at_several_points(folder, whole, tmp_path):
    target = tmp_path / "sweep"
    total = len(whole.about["cells"])
    before = {}
    for count in (0, 3, total - 5):
        killed(folder, target, count)
        found = cells(target)
        assert found.items() >= before.items()  # what was there is not written again
        assert len(found) < total
        before = found
    with pytest.raises(DataError, match=r"a finished sweep; found \d+ of \d+ files missing"):
        SweepResult.load(target)
    result = run(folder, folder=target)
    assert cells(target).items() >= before.items()
    assert same(result, whole)
    pd.testing.assert_frame_equal(result.questions, whole.questions)


def test_a_cut_write_and_a_lost_file_are_made_good(folder, whole, tmp_path):
    target = Path(shutil.copytree(whole.folder, tmp_path / "sweep"))
    lost = target / "cells" / whole.about["cells"][5]
    lost.rename(lost.with_name(f".{lost.name}.0123.part"))
    damaged = target / "cells" / whole.about["cells"][2]
    damaged.write_bytes(b"PAR1" + bytes(200) + damaged.read_bytes()[204:])  # its end is whole
    with pytest.raises(DataError, match=r"found 2 of \d+ files missing or damaged"):
        SweepResult.load(target)
    assert same(run(folder, folder=target), whole)
    assert lost.is_file()


def test_a_finished_sweep_is_only_read(folder, whole):
    before = cells(whole.folder)
    assert same(run(folder, folder=whole.folder), whole)
    assert cells(whole.folder) == before


CHANGES = {
    "etas": (dict(etas=(0.5, 1)), "etas = [0.5, 2.0]; found etas = [0.5, 1.0]"),
    "seeds": (dict(seeds=(0,)), "seeds = [0, 1]; found seeds = [0]"),
    "layers": (dict(layers=(1,)), "layers = [0, 2]; found layers = [1]"),
    "scale": (dict(scale="raw"), "scale = 'relative'; found scale = 'raw'"),
    "methods": (dict(methods=["DiffMean"]), "methods = {paired: ColdKernel:"),
    "data": (
        dict(splits=SPLITS | {"second": splits_of("second", 71)}),
        "data = {second: {train:",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_configuration_is_refused_by_name(folder, whole, change):
    changes, text = CHANGES[change]
    with pytest.raises(DataError) as caught:
        run(folder, folder=whole.folder, **changes)
    assert text in str(caught.value)
    assert "Choose another folder" in str(caught.value)


def test_a_folder_with_something_else_is_refused(folder, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="holds something else"):
        run(folder, folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_saved_and_loaded(whole, tmp_path):
    assert whole.save(whole.folder) == whole.folder.resolve()
    copy = SweepResult.load(whole.save(tmp_path / "copy"))
    assert same(copy, whole)
    pd.testing.assert_frame_equal(copy.main_table(), whole.main_table())
    with pytest.raises(DataError, match="a new or empty folder"):
        whole.save(tmp_path / "copy")


def test_damage_is_named(whole, tmp_path):
    copy = SweepResult.load(whole.save(tmp_path / "copy"))
    (copy.folder / "cells" / copy.about["cells"][0]).write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="a finished sweep; found Arrow"):
        _ = replace(copy).table
    with pytest.raises(DataError, match="a folder with a sweep"):
        SweepResult.load(tmp_path)
    marker = copy.folder / "sweep.json"
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"format": "coldlens-sweep-0"}))
    with pytest.raises(DataError, match="found 'coldlens-sweep-0'"):
        SweepResult.load(copy.folder)


def test_a_temporary_sweep_leaves_nothing(folder):
    result = run(folder, methods=["DiffMean"], seeds=(0,))
    place = result.folder
    assert place.is_dir()
    assert len(result.questions)
    del result
    assert not place.exists()
