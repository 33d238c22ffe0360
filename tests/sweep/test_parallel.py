"""Several processes, and a cluster that loses a worker, give the same table byte for byte."""

import os
import signal
import threading
import time

import pytest
import torch
import zoo
from sweep.conftest import run

from coldlens.errors import ArgumentError, DataError
from coldlens.sweep.bank import Grid
from coldlens.sweep.parallel import Workers, threads
from coldlens.sweep.run import run_unit
from coldlens.sweep.unit import Unit

pytestmark = pytest.mark.slow


def same(left, right):
    return left.table.to_csv() == right.table.to_csv()


def test_two_processes_give_the_table_of_one(folder, whole, tmp_path):
    result = run(folder, folder=tmp_path / "two", jobs=2)
    assert same(result, whole)
    assert result.about == whole.about


def test_threads_around_do_not_matter(folder, whole):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        result = run(folder, methods=["DiffMean", "ColdKernel"], seeds=(1,))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    wanted = whole.table[(whole.table.seed == 1) & whole.table.method.isin(["DiffMean"])]
    found = result.table[result.table.method == "DiffMean"]
    assert found[wanted.columns].to_csv(index=False) == wanted.to_csv(index=False)


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with pytest.raises(KeyError), threads(1):
        raise KeyError
    assert torch.get_num_threads() == before


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_that_loses_a_worker_gives_the_table_of_one(folder, whole, tmp_path):
    distributed = pytest.importorskip("distributed")
    target = tmp_path / "cluster"
    with distributed.LocalCluster(
        n_workers=3, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        victim = next(iter(cluster.workers.values())).pid
        at = []

        def kill():
            end = time.monotonic() + 120
            while time.monotonic() < end:
                written = len(list(target.glob("cells/[!.]*.parquet")))
                if written >= 4:
                    os.kill(victim, signal.SIGKILL)
                    at.append(written)
                    return
                time.sleep(0.01)

        watcher = threading.Thread(target=kill)
        watcher.start()
        result = run(
            folder, folder=target, backend="dask", scheduler=cluster.scheduler_address, jobs=1
        )
        watcher.join()
    assert at
    assert at[0] < len(whole.about["cells"])
    assert same(result, whole)


@pytest.mark.filterwarnings("ignore")
def test_a_scheduler_without_workers_or_that_is_not_there_is_named(folder):
    distributed = pytest.importorskip("distributed")
    started = time.monotonic()
    with pytest.raises(ArgumentError, match="a Dask scheduler that answers at 'tcp://127"):
        run(folder, backend="dask", scheduler="tcp://127.0.0.1:1")
    assert time.monotonic() - started < 60
    with (
        distributed.LocalCluster(
            n_workers=0, processes=False, dashboard_address=None, threads_per_worker=1
        ) as cluster,
        pytest.raises(ArgumentError, match="found no worker"),
    ):
        run(folder, backend="dask", scheduler=cluster.scheduler_address)


def test_without_the_package_it_is_named(folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(ArgumentError, match=r"pip install \"coldlens\[cluster\]\""):
        Workers(1, "dask", "tcp://127.0.0.1:1")


def test_what_does_not_go_together_is_named(folder):
    with pytest.raises(ArgumentError, match="found a TransformerBridge with jobs = 2"):
        run(zoo.bridge("llama"), jobs=2)
    with pytest.raises(ArgumentError, match="backend = 'dask', scheduler = None"):
        run(folder, backend="dask")
    with pytest.raises(ArgumentError, match="backend = 'local', scheduler = 'tcp"):
        run(folder, scheduler="tcp://127.0.0.1:8786")
    with pytest.raises(ArgumentError, match="found jobs = 0"):
        run(folder, jobs=0)


def test_a_worker_with_another_model_is_an_error(folder, whole, tmp_path):
    grid = Grid((0,), (1.0,), "relative", "prompt", None, 4)
    with pytest.raises(DataError, match="in reach of every worker"):
        run_unit(str(folder), "0" * 32, Unit.base("first"), {}, grid, tmp_path)
    with pytest.raises(DataError, match="the same model in every worker"):
        run_unit(str(folder), "0" * 32, Unit.base("first"), {}, grid, whole.folder)
